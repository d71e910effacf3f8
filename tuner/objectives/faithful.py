"""``tune --objective faithful``: how well an explanation describes the classifier, without a mask.

Three measures, each in [0, 1], count alike:

- R² of the surrogate on perturbations that it was not fitted to (lime's own claim; Ribeiro, Singh
  and Guestrin 2016), cut off at 0;
- insertion minus deletion area (Petsiuk, Das and Saenko 2018, RISE), cut off at 0;
- agreement of the masks of different explainer seeds (mean Jaccard index): an explanation that
  hangs on luck describes nothing.

score = (R² + insertion - deletion + agreement) / 3 - runtime weight × relative runtime
        - 3 × what is missing to a lead of 0.05 over lime's defaults in R², and in insertion minus
        deletion

The last term keeps one measure from being bought with another: coarse superpixels are easily
predicted and rank badly, fine ones the other way round. A smaller lead may be luck: insertion minus
deletion of the defaults differed by 0.01 to 0.06 between sets of two or three seeds. The defaults
have no lead over themselves either, so what equals them and is faster wins.
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
from tuner.objectives.faithfulness import FaithfulnessMeter
from tuner.objectives.interface import Objective
from tuner.problem import SearchTask, TuningSettings, TuningTask

__all__ = ["Faithful"]

_DEFAULT_SEEDS = 3  # of lime's defaults, which every trial is held against
_MORE_SEEDS = 4  # for one that is about to win

_EVEN = {
    count: Segmentation.of("slic", n_segments=count, compactness=20, sigma=0)
    for count in (15, 27, 40)
}
_UNEVEN = Segmentation.of("slic", n_segments=50, compactness=5, sigma=0)
_COARSE = Segmentation.of("felzenszwalb", scale=100, sigma=1.0, min_size=300)
# A surrogate that may use every superpixel, fitted to several times as many samples, predicts
# best; which superpixels rank best depends on the image. Of 44 settings with 240 samples, on five
# photographs, these (13 to 40 superpixels) were the best on one or another in both, held-out R² and
# insertion minus deletion, relative to lime's defaults (the uneven ones with 60 segments, which the
# grid lacks).
_STARTERS = (
    (_EVEN[40], None), (_EVEN[27], None), (_EVEN[15], 127), (_UNEVEN, 127), (_COARSE, 127),
    (_EVEN[27], 127), (_EVEN[40], 127), (_EVEN[15], None),
)  # fmt: skip


class Faithful(Objective):
    """Faithfulness of one image's explanations, minus the price of the runtime.

    A trial is stopped when it could not win even if all further seeds gave the same mask. One that
    is about to win was chosen on its seeds, so it has to go on winning on some more of them. IoU is
    recorded where the task has a reference, and decides nothing.
    """

    name = "faithful"
    found: Faithfulness | None

    def __init__(self, study: optuna.Study, task: SearchTask, settings: TuningSettings) -> None:
        if len(task.tasks) > 1 or settings.pareto or settings.constrain_fidelity:
            raise InvalidInput(
                "the objective 'faithful' is one score of one image, without a constraint"
            )
        super().__init__(study, task, settings)
        self._image = next(iter(task.tasks.values()))
        self._meter = FaithfulnessMeter(self._image)

    def starters(self) -> Sequence[LimeParameters]:
        """Settings that weigh all of their superpixels.

        Few trials are made, so that each had better be certain: 400 samples.
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
        self.found = self._meter.measure(self.draft.parameters, range(seed + 1))
        self.spent = seed + 1

    @property
    def running_score(self) -> float:
        """What may still be reached: until the last seed all masks may turn out alike."""
        faithfulness = self.found
        if faithfulness is not None and self.spent < self.wanted:
            faithfulness = Faithfulness(faithfulness.r2, faithfulness.gain, 1.0)
        return self._score(faithfulness)

    def after_seed(self) -> str:
        """As the class says."""
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
            # The defaults have no lead over themselves: what equals them may be faster.
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
    """Of lime's defaults, once their trial is done; with the usual samplers it is the first."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN:
            record = TrialRecord.from_attributes(trial.user_attrs)
            if record is not None:
                return record.faithful
    return None
