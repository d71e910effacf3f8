"""When a trial may be stopped because it cannot win any more."""

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

# With few seeds the sample deviation is itself luck; no explanation was seen to vary less.
_LEAST_DEVIATION = 0.01
_CONFIDENCE = 1.5  # standard errors; about one in ten good trials is lost to it
# Random settings on six photographs: with n samples on three seeds the IoU was this / sqrt(n)
# below that of all samples in one case out of twenty, and less where all samples reached much.
_SAMPLES_MAY_BRING = 0.85
_ONE_SEED_IS_LUCK = 1.4


class StoppingRule(Protocol):
    """Decides from the IoU measured so far whether a trial can still beat the incumbent.

    ``price`` is what the trial's runtime costs, to be taken off its IoU.
    """

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        """Whether to stop after explanations with fewer samples than the trial's, one a seed."""

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        """Whether to stop after full explanations, one a seed."""


@dataclass(frozen=True)
class BoundsStopping:
    """A trial is stopped when even its upper confidence bound is below the incumbent's score."""

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        """The bound is what further samples were seen to bring, which falls with their root."""
        brings = _SAMPLES_MAY_BRING / math.sqrt(samples)
        if len(ious) == 1:
            brings *= _ONE_SEED_IS_LUCK
        return sum(ious) / len(ious) + brings - price < incumbent.score

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        """The bound is the mean plus 1.5 standard errors; one seed decides nothing."""
        if len(ious) < 2:
            return False
        mean = sum(ious) / len(ious)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in ious) / (len(ious) - 1))
        margin = _CONFIDENCE * max(deviation, _LEAST_DEVIATION) / math.sqrt(len(ious))
        return mean + margin - price < incumbent.score
