"""``tune --objective agreement``: IoU of the explanation's mask with the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import optuna
from optuna.trial import TrialState

from explainers.errors import InvalidInput
from studies.results.best_trial import point_of
from studies.results.score import score
from tuner.objectives.constraint import lost_fidelity
from tuner.objectives.draft import Measured, TrialDraft
from tuner.objectives.interface import Objective
from tuner.problem import (
    FEW_SUPERPIXELS,
    MEAN,
    RUNGS,
    Aggregate,
    CatalogTask,
    Incumbent,
    SearchTask,
    TuningSettings,
    TuningTask,
    incumbent_of,
    paired,
)

__all__ = ["Agreement", "confirming_seeds"]

_CERTAIN = 0.02  # standard error of the mean IoU below which more seeds tell little
_LEAST_INSTANCES = 5  # before a catalogue's trial may be stopped


class Agreement(Objective):
    """Mean IoU over seeds, minus the price of the runtime; of one image."""

    name = "agreement"
    aggregate: Aggregate = MEAN
    ious: dict[str, list[float]]

    @classmethod
    def of(cls, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> Objective:
        """For one image or a catalogue, for one score or a front."""
        if isinstance(task, CatalogTask):
            return CatalogAgreement(study, task, settings)
        return (FrontAgreement if settings.pareto else cls)(study, task, settings)

    def begin(self, draft: TrialDraft) -> None:
        super().begin(draft)
        settings = self.settings
        self.price = self._price(draft.ratio)
        self.best = self._incumbent()
        preset = min(settings.default_seeds, settings.seeds)
        self.wanted = preset if draft.preset else settings.seeds

    def clear(self) -> None:
        self.ious = {}

    def _price(self, runtime_ratio: float) -> float:
        """What a runtime takes off the IoU before trials are compared."""
        return self.settings.runtime_weight * runtime_ratio

    def _incumbent(self) -> Incumbent | None:
        return incumbent_of(self.study, self.settings.runtime_weight)

    def _named(self, best: Incumbent) -> str:
        return f"the best score {best.score:.3f}"

    def screen(self, replayed: int) -> str:
        """Not where even the upper bound cannot win, or where few samples are hopeless."""
        best, draft = self.best, self.draft
        if best is None:
            return ""
        bound = draft.view.upper_bound(draft.parameters.num_features)
        if bound - self.price < best.score:
            return f"ceiling {bound:.3f} cannot beat {self._named(best)}"
        task = self.task.tasks[""]
        for samples, seeds in RUNGS:
            if samples <= replayed:
                continue
            if 2 * samples > draft.parameters.num_samples:
                break  # the whole costs little more
            fewer = replace(draft.parameters, num_samples=samples)
            ious = task.ious(fewer, range(min(seeds, self.settings.seeds)))
            if self.settings.stopping.after_samples(ious, samples, self.price, best):
                self.report(float(np.mean(ious)) - self.price, 0)
                return f"cannot win after {samples} samples of {len(ious)} seeds"
        return ""

    def measure(self, key: str, task: TuningTask, seed: int) -> None:
        self.ious.setdefault(key, []).append(task.iou(self.draft.parameters, seed))

    def after_seed(self) -> str:
        """Stop what cannot win; score what is about to win on further seeds."""
        ious = self.ious[""]
        if self.draft.preset:
            return ""
        if self.best is not None and self.settings.stopping.after_seeds(
            ious, self.price, self.best
        ):
            return f"cannot win after {len(ious)} seeds"
        if len(ious) == self.wanted and self.wins:
            draft = self.draft
            self.wanted = confirming_seeds(
                ious, draft.trial.number, draft.superpixels, self.settings
            )
        return ""

    def verdict(self) -> str:
        """Under the constraint nothing wins that explains less than lime's defaults."""
        if not self.settings.constrain_fidelity or self.draft.preset or not self.wins:
            return ""
        return lost_fidelity(self.draft, self.task.tasks[""], len(self.ious[""]))

    @property
    def wins(self) -> bool:
        """Whether the trial is ahead so far."""
        return self.best is None or self.running_score > self.best.score

    @property
    def per_image(self) -> dict[str, float]:
        """Mean IoU by key of the images that were explained."""
        return {key: float(np.mean(ious)) for key, ious in self.ious.items()}

    @property
    def running_score(self) -> float:
        return self.aggregate.of(self.per_image.values()) - self.price

    def values(self) -> list[float]:
        iou = self.aggregate.of(self.per_image.values()) if self.ious else 0.0
        return [score(iou, self.draft.ratio, self.settings.runtime_weight)]

    def measured(self) -> Measured:
        """IoU seed by seed."""
        ious = self.ious.get("", [])
        return Measured(float(np.mean(ious)) if ious else 0.0, ious, len(ious))


class FrontAgreement(Agreement):
    """``tune --pareto``: a trial wins a place on the front of IoU and seconds.

    It competes only with what takes no longer, so the runtime has no price.
    """

    def _price(self, runtime_ratio: float) -> float:
        return 0.0

    def _incumbent(self) -> Incumbent | None:
        """The best IoU of the complete trials that take no longer."""
        best = None
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            point = point_of(trial)
            if point is None or point.runtime_seconds > self.draft.parts.total:
                continue
            if best is None or point.iou > best.score:
                best = Incumbent(point.iou, tuple(trial.user_attrs.get("iou_per_seed", ())))
        return best

    def _named(self, best: Incumbent) -> str:
        return f"IoU {best.score:.3f} of a trial that takes no longer"

    def after_seed(self) -> str:
        """One lucky seed of lime's defaults would keep its place on the front for ever."""
        if self.draft.preset and self.wins:
            self.wanted = min(len(self.ious[""]) + 1, self.settings.seeds)
        return super().after_seed()

    def report(self, value: float, step: int) -> None:
        """Nothing: Optuna has no intermediate values of two objectives."""

    def values(self) -> list[float]:
        """IoU and seconds, in the order of the study's directions."""
        return [self.measured().iou, self.draft.parts.total]


class CatalogAgreement(Agreement):
    """IoU aggregated over a catalogue's images, minus the price of the mean runtime."""

    def __init__(
        self, study: optuna.Study, task: CatalogTask, settings: TuningSettings
    ) -> None:
        if settings.pareto or settings.constrain_fidelity:
            raise InvalidInput("a catalogue's study has one score, and no constraint")
        super().__init__(study, task, settings)
        self.aggregate = task.aggregate

    def begin(self, draft: TrialDraft) -> None:
        super().begin(draft)
        self._foreseen = False

    def screen(self, replayed: int) -> str:
        """Nothing: what is known to be worth a trial is measured on every image once."""
        self._foreseen = replayed >= self.draft.parameters.num_samples
        return ""

    def after_instance(self) -> str:
        """Stop where the upper bounds of the images that are left cannot save it, or where it is
        behind the incumbent on the same images."""
        best = self.best
        instances = sum(len(ious) for ious in self.ious.values())
        images = len(self.task.tasks)
        if self.draft.preset or best is None or (self._foreseen and instances <= images):
            return ""
        means = self.per_image
        if len(means) < images:
            parameters = self.draft.parameters
            bounds = [
                task.view(parameters.segmentation).upper_bound(parameters.num_features)
                for key, task in self.task.tasks.items()
                if key not in means
            ]
            bound = self.aggregate.of([*means.values(), *bounds])
            if bound - self.price < best.score:
                return f"ceilings allow {bound:.3f} after {len(means)} images"
        if instances < _LEAST_INSTANCES or self.aggregate.quantile is not None:
            return ""
        scores = {key: [iou - self.price for iou in ious] for key, ious in self.ious.items()}
        adjusted = paired(scores, best.per_image)
        if adjusted is not None and self.settings.stopping.after_seeds(adjusted, 0.0, best):
            return f"cannot win after {instances} instances"
        return ""

    def after_seed(self) -> str:
        """What is about to win was chosen on the first seeds: it has to win on further ones."""
        spent = min(map(len, self.ious.values()))
        ahead = not self.draft.preset and self.best is not None and self.wins
        if ahead and spent == self.wanted < self.settings.confirm_seeds:
            self.wanted += 1
        return ""

    def measured(self) -> Measured:
        """IoU seed by seed and image by image."""
        per_image, ious = self.per_image, list(self.ious.values())
        complete = min(map(len, ious)) if len(ious) == len(self.task.tasks) else 0
        return Measured(
            float(np.mean(list(per_image.values()))) if per_image else 0.0,
            [float(np.mean([some[seed] for some in ious])) for seed in range(complete)],
            complete,
            extra={"iou_per_image": {key: round(iou, 6) for key, iou in per_image.items()}},
        )


def confirming_seeds(
    ious: Sequence[float], number: int, superpixels: int, settings: TuningSettings
) -> int:
    """How many seeds a trial that is the best so far is scored on before that is asked again.

    What samplers propose was chosen on the first seeds, so only further ones show its luck. Early
    trials are soon outdone, and more certainty than need be is not worth many predictions.

    Args:
        ious: of the seeds so far.
        number: of the trial.
    """
    spent = len(ious)
    step = max(1, settings.seeds // 2)
    doubtful = float(np.std(ious)) / math.sqrt(spent) > _CERTAIN
    if superpixels <= FEW_SUPERPIXELS or (doubtful and spent >= settings.confirm_seeds):
        most = 2 * settings.confirm_seeds  # few patterns: further seeds ask hardly anything new
    elif doubtful:
        most = settings.confirm_seeds
    else:
        most = min(settings.confirm_seeds, settings.seeds + number)
    return min(spent + step, max(spent, most))
