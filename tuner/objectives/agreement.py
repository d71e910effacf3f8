"""``tune --objective agreement``: IoU of the explanation's mask with the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import optuna
from optuna.trial import TrialState

from explainers.errors import InvalidInput
from studies.results.attributes import PENALTY
from studies.results.best_trial import point_of
from studies.results.score import score
from tuner.objectives.constrained import explains_less, foreseen_penalty, note_defaults
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

_CERTAIN = 0.02  # standard error of the mean IoU below which more seeds hardly matter
_LEAST_INSTANCES = 5  # before a catalogue's trial may be stopped


class Agreement(Objective):
    """Mean IoU of one image over seeds, minus the runtime penalty."""

    name = "agreement"
    aggregate: Aggregate = MEAN
    ious: dict[str, list[float]]
    refuses = False
    """Whether a constraint allows no compromise."""

    @classmethod
    def of(cls, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> Objective:
        """The class for one image or a catalogue, and for one score or a front."""
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
        self._checked = draft.preset or settings.constraint is None

    def clear(self) -> None:
        self.ious = {}
        self.penalty = 0.0

    def _price(self, runtime_ratio: float) -> float:
        """The penalty that is subtracted from the IoU before trials are compared."""
        return self.settings.runtime_weight * runtime_ratio

    def _incumbent(self) -> Incumbent | None:
        return incumbent_of(self.study, self.settings.runtime_weight)

    def _named(self, best: Incumbent) -> str:
        return f"the best score {best.score:.3f}"

    def screen(self, replayed: int) -> str:
        """Stop if even the upper bound cannot win, or after interim checks with few samples."""
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
                break  # the full explanation costs little more
            fewer = replace(draft.parameters, num_samples=samples)
            ious = task.ious(fewer, range(min(seeds, self.settings.seeds)))
            if self.settings.stopping.after_samples(ious, samples, self.price, best):
                self.report(float(np.mean(ious)) - self.price, 0)
                return f"cannot win after {samples} samples of {len(ious)} seeds"
        if self.settings.constraint is not None:
            self.penalty = foreseen_penalty(draft, task, self.settings.constraint)
        if self.refuses and self.penalty:
            return "it explains less than the constraint allows"
        if bound - self.price - self.penalty < best.score:
            return f"ceiling {bound:.3f} cannot beat {self._named(best)}: it explains too little"
        return ""

    def measure(self, key: str, task: TuningTask, seed: int) -> None:
        self.ious.setdefault(key, []).append(task.iou(self.draft.parameters, seed))

    def after_seed(self) -> str:
        """Stop a trial that cannot win; ask for further seeds where it is about to win."""
        ious = self.ious[""]
        if self.draft.preset:
            return ""
        if self.best is not None and self.settings.stopping.after_seeds(
            ious, self.price + self.penalty, self.best
        ):
            return f"cannot win after {len(ious)} seeds"
        if len(ious) == self.wanted and self.wins:
            if lost := self._explains_less():
                return lost
            draft = self.draft
            self.wanted = confirming_seeds(
                ious, draft.trial.number, draft.superpixels, self.settings
            )
        return ""

    def verdict(self) -> str:
        """Under a constraint, note what lime's defaults explain, beside which the best is shown."""
        if self.draft.preset and self.settings.constraint is not None:
            note_defaults(self.draft, self.task.tasks[""])
        return ""

    def _explains_less(self) -> str:
        """Under a constraint, measure a trial that is about to win, once; why it does not win then.

        What it misses is taken off its score, so it may still win: as a compromise.
        """
        constraint = self.settings.constraint
        if self._checked or constraint is None:
            return ""
        self._checked = True
        task, seeds = self.task.tasks[""], len(self.ious[""])
        penalty, why = explains_less(self.draft, task, constraint, seeds)
        if penalty and self.refuses:
            return why
        self.penalty = penalty
        return "" if self.wins else why

    @property
    def wins(self) -> bool:
        """Whether the trial's score so far is above the incumbent's."""
        return self.best is None or self.running_score > self.best.score

    @property
    def per_image(self) -> dict[str, float]:
        """Mean IoU over seeds, by key of the images explained so far."""
        return {key: float(np.mean(ious)) for key, ious in self.ious.items()}

    @property
    def running_score(self) -> float:
        return self.aggregate.of(self.per_image.values()) - self.price - self.penalty

    def values(self) -> list[float]:
        iou = self.aggregate.of(self.per_image.values()) if self.ious else 0.0
        return [score(iou, self.draft.ratio, self.settings.runtime_weight) - self.penalty]

    def measured(self) -> Measured:
        """The IoU of every seed, and their mean."""
        ious = self.ious.get("", [])
        extra = {PENALTY: round(self.penalty, 6)} if self.penalty else {}
        return Measured(float(np.mean(ious)) if ious else 0.0, ious, len(ious), extra=extra)


class FrontAgreement(Agreement):
    """``tune --pareto``: two objectives, IoU and seconds.

    A trial competes only with those that take no longer, so there is no runtime penalty.
    """

    # Its place on the front is no score from which something could be taken off.
    refuses = True

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
        """Give lime's defaults more seeds while they would be on the front, as one lucky seed would
        keep them there for good."""
        if self.draft.preset and self.wins:
            self.wanted = min(len(self.ious[""]) + 1, self.settings.seeds)
        return super().after_seed()

    def report(self, value: float, step: int) -> None:
        """Nothing: Optuna has no intermediate values of two objectives."""

    def values(self) -> list[float]:
        """IoU and seconds, in the order of the study's directions."""
        return [self.measured().iou, self.draft.parts.total]


class CatalogAgreement(Agreement):
    """IoU aggregated over a catalogue's images, minus the penalty of their mean runtime."""

    def __init__(self, study: optuna.Study, task: CatalogTask, settings: TuningSettings) -> None:
        if settings.pareto or settings.constraint is not None:
            raise InvalidInput("a catalogue's study has one score, and no constraint")
        super().__init__(study, task, settings)
        self.aggregate = task.aggregate

    def begin(self, draft: TrialDraft) -> None:
        super().begin(draft)
        self._foreseen = False

    def screen(self, replayed: int) -> str:
        """Stop nothing, but note whether a forecast has used all samples of the trial already; then
        it is measured on every image once before it may be stopped."""
        self._foreseen = replayed >= self.draft.parameters.num_samples
        return ""

    def after_instance(self) -> str:
        """Stop if the upper bounds of the remaining images leave no chance to win, or if the trial
        is behind the incumbent on the same images."""
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
        """Ask for further seeds where the trial is about to win: it was selected on the first."""
        spent = min(map(len, self.ious.values()))
        ahead = not self.draft.preset and self.best is not None and self.wins
        if ahead and spent == self.wanted < self.settings.confirm_seeds:
            self.wanted += 1
        return ""

    def measured(self) -> Measured:
        """The mean IoU of every seed, and that of every image."""
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
    """How many seeds to score a trial on that is the best so far, before this is asked again.

    Samplers select proposals on the first seeds, so those are biased; only further seeds are not.
    Early bests are soon replaced, so they get fewer seeds, as do trials with a certain mean.

    Args:
        ious: IoU of the seeds so far.
        number: the trial's number.
        superpixels: number of superpixels of its map.
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
