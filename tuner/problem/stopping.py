"""Rules for stopping a trial that cannot beat the incumbent any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tuner.problem.incumbent import Incumbent

__all__ = ["RUNGS", "BoundsStopping", "StoppingRule"]

RUNGS: tuple[tuple[int, int], ...] = (
    (32, 1), (32, 3), (64, 3), (128, 3), (256, 3), (512, 3),
)  # fmt: skip
"""(samples, explainer seeds) of the interim checks before a trial is explained in full. Rows are
drawn so that fewer samples are the first ones of more: a later check repeats no prediction."""

# The sample deviation of few seeds may be too small by chance; no explanation varied less.
_LEAST_DEVIATION = 0.01
_CONFIDENCE = 1.5  # standard errors; it stops about one in ten good trials
# Of random settings on six photographs, one in twenty had an IoU with n samples (three seeds) that
# was more than this / sqrt(n) below that with all samples. Good settings lost less.
_SAMPLES_MAY_BRING = 0.85
_ONE_SEED_IS_LUCK = 1.4


class StoppingRule(Protocol):
    """Decides from the IoU measured so far whether a trial can still beat the incumbent.

    ``price`` is the trial's runtime penalty, which is subtracted from its IoU.
    """

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        """Whether to stop after explanations with fewer samples than the trial's.

        Args:
            ious: one for each explainer seed.
            samples: number of samples of these explanations.
        """

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        """Whether to stop after full explanations; ``ious`` has one for each explainer seed."""


@dataclass(frozen=True)
class BoundsStopping:
    """A trial is stopped when even its upper confidence bound is below the incumbent's score."""

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        """The bound is the mean plus the gain of further samples, which falls as 1 / √samples."""
        brings = _SAMPLES_MAY_BRING / math.sqrt(samples)
        if len(ious) == 1:
            brings *= _ONE_SEED_IS_LUCK
        return sum(ious) / len(ious) + brings - price < incumbent.score

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        """The bound is the mean plus 1.5 standard errors; never stops after a single seed."""
        if len(ious) < 2:
            return False
        mean = sum(ious) / len(ious)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in ious) / (len(ious) - 1))
        margin = _CONFIDENCE * max(deviation, _LEAST_DEVIATION) / math.sqrt(len(ious))
        return mean + margin - price < incumbent.score
