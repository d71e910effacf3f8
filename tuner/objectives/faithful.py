"""``tune --objective faithful``: how well an explanation describes the classifier, without a mask.

The score averages three measures, each in [0, 1]:

- R² of the surrogate on perturbations that it was not fitted to (lime's own claim; Ribeiro, Singh
  and Guestrin 2016), cut off at 0;
- insertion minus deletion area (Petsiuk, Das and Saenko 2018, RISE), cut off at 0;
- agreement of the masks of different explainer seeds (mean Jaccard index): an explanation that
  changes with the seed describes nothing.

score = (R² + insertion - deletion + agreement) / 3 - runtime weight × relative runtime
        - 3 × the shortfall to a lead of 0.05 over lime's defaults, summed over R² and insertion
        minus deletion

The last term prevents that one measure is gained at the cost of another: coarse superpixels give a
high R² and a bad ranking, fine ones the opposite. A smaller lead may be chance: insertion minus
deletion of the defaults differed by 0.01 to 0.06 between sets of two or three seeds. The defaults
themselves get the same penalty for their missing lead, so an equal but faster setting wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import TrialState

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, Segmentation
from explainers.metrics import Faithfulness
from studies.results.attributes import DEFAULTS_ORIGIN
from studies.results.best_trial import best_trial
from studies.results.score import score
from studies.results.trial_record import TrialRecord
from tuner.objectives.draft import Measured, TrialDraft
from tuner.objectives.interface import Objective
from tuner.problem import SearchTask, TuningSettings, TuningTask

__all__ = ["Faithful"]

_DEFAULT_SEEDS = 3  # for lime's defaults, to which every trial is compared
_MORE_SEEDS = 4  # for a trial that is about to win

_EVEN = {
    count: Segmentation.of("slic", n_segments=count, compactness=20, sigma=0)
    for count in (15, 27, 40)
}
_UNEVEN = Segmentation.of("slic", n_segments=50, compactness=5, sigma=0)
_COARSE = Segmentation.of("felzenszwalb", scale=100, sigma=1.0, min_size=300)
# A surrogate of all superpixels, fitted to several times as many samples, has the highest R²; which
# superpixels give the best ranking depends on the image. Of 44 settings with 240 samples, each of
# these (13 to 40 superpixels) was the best on one of five photographs in both held-out R² and
# insertion minus deletion, relative to lime's defaults (the uneven one with 60 segments, which the
# grid lacks).
_STARTERS = (
    (_EVEN[40], None), (_EVEN[27], None), (_EVEN[15], 127), (_UNEVEN, 127), (_COARSE, 127),
    (_EVEN[27], 127), (_EVEN[40], 127), (_EVEN[15], None),
)  # fmt: skip


class Faithful(Objective):
    """Faithfulness of one image's explanations, minus the runtime penalty.

    A trial is stopped when it could not win even if all further seeds gave the same mask. A trial
    that is about to win is measured on further seeds first, because it was selected on the first
    ones. IoU is recorded where the task has a reference, but does not count.
    """

    name = "faithful"
    found: Faithfulness | None

    def __init__(self, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> None:
        if len(task.tasks) > 1 or settings.pareto or settings.constraint is not None:
            raise InvalidInput(
                "the objective 'faithful' is one score of one image, without a constraint"
            )
        super().__init__(study, task, settings)
        self._image = next(iter(task.tasks.values()))

    def starters(self) -> Sequence[LimeParameters]:
        """Settings whose surrogates use all superpixels, with up to 400 samples.

        This objective has few trials, so each should be measured with little noise.
        """
        samples = min(400, self.settings.space.num_samples[1])
        return [
            LimeParameters(
                segmentation=segmentation,
                hide_color=color,
                num_samples=samples,
                batch_size=5,
                top_labels=1,
            )
            for segmentation, color in _STARTERS
        ]

    def begin(self, draft: TrialDraft) -> None:
        super().begin(draft)
        seeds = self.settings.seeds
        self.wanted = min(_DEFAULT_SEEDS, seeds) if draft.preset else seeds
        best = best_trial(self.study)
        self.best = -math.inf if best is None or best.value is None else best.value
        self.baseline = _of_defaults(self.study)

    def clear(self) -> None:
        self.found, self.spent = None, 0

    def measure(self, key: str, task: TuningTask, seed: int) -> None:
        """Measure all seeds so far together."""
        self.found = self._image.meter.measure(self.draft.parameters, range(seed + 1))
        self.spent = seed + 1

    @property
    def running_score(self) -> float:
        """The score so far; before the last seed an upper bound, with mask agreement 1."""
        faithfulness = self.found
        if faithfulness is not None and self.spent < self.wanted:
            faithfulness = Faithfulness(faithfulness.r2, faithfulness.gain, 1.0)
        return self._score(faithfulness)

    def after_seed(self) -> str:
        """Stop a trial that cannot win; ask for one more seed where it is about to win."""
        running, settings = self.running_score, self.settings
        if self.draft.preset:
            return ""
        if self.spent < self.wanted and running < self.best:
            return f"cannot win after {self.spent} seeds"
        most = min(settings.confirm_seeds, settings.seeds + _MORE_SEEDS)
        if running > self.best and self.spent == self.wanted < most:
            self.wanted += 1
        return ""

    def _score(self, faithfulness: Faithfulness | None) -> float:
        value = 0.0
        if faithfulness is not None:
            value = faithfulness.value
            # The defaults are compared with themselves, so they get the full penalty.
            baseline = (
                faithfulness if self.baseline is None and self.draft.preset else self.baseline
            )
            if baseline is not None:
                value -= faithfulness.shortfall(baseline)
        return score(value, self.draft.ratio, self.settings.runtime_weight)

    def values(self) -> list[float]:
        return [self._score(self.found)]

    def measured(self) -> Measured:
        """Faithfulness, and the IoU where there is a reference."""
        ious: list[float] = []
        if self._image.reference.exists:
            ious = self._image.ious(self.draft.parameters, range(self.spent))
        mean = float(np.mean(ious)) if ious else math.nan
        return Measured(mean, ious, self.spent, self.found)


def _of_defaults(study: optuna.Study) -> Faithfulness | None:
    """The faithfulness of lime's defaults, once their trial is complete.

    With the samplers for this objective theirs is the first trial.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN:
            record = TrialRecord.from_attributes(trial.user_attrs)
            if record is not None:
                return record.faithful
    return None
