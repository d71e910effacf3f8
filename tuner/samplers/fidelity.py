"""What a constraint takes off forecasts: for a low held-out R², and for a low gain.

The R² of every replayed setting costs nothing, as the perturbations of one explainer seed are held
out from another's. The gain, insertion minus deletion, needs a few predictions, so it is measured
only for settings that could win.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tuner.problem import Constraint, SearchSpace, TuningTask

__all__ = ["FidelityPenalty"]

_MEASURED = 4  # settings of a probe whose gain is measured at most

_Scored = Sequence[tuple[float, dict[str, Any]]]


class FidelityPenalty:
    """The penalties of one image's settings."""

    def __init__(self, task: TuningTask, space: SearchSpace, constraint: Constraint) -> None:
        self._task, self._space, self._constraint = task, space, constraint

    def of_r2(self, found: Sequence[float]) -> float:
        """For the held-out R² on some seeds; ``nan`` where it is unknown."""
        known = [each for each in found if not math.isnan(each)]
        if not known:
            return 0.0
        least = self._task.faithfulness_of_defaults.r2 - self._constraint.margin
        return self._constraint.penalty(least - sum(known) / len(known))

    def with_gains(self, scored: _Scored, best: float) -> _Scored:
        """Forecast scores of a candidate's settings, less what these lack in gain.

        How many features a surrogate has decides most of it, as what is left out has no rank. So
        the gain is measured, on one seed, for the best setting of one number of features after
        another, as long as the best of all is not among these and could win. Other settings are
        expected to lack as much, and other numbers of features as much as the best of these.

        Args:
            scored: (score, trial values).
            best: score to beat.
        """
        tops: dict[Any, tuple[float, dict[str, Any]]] = {}
        for value, values in scored:
            features = values["num_features"]
            if features not in tops or value > tops[features][0]:
                tops[features] = (value, values)
        lacking: dict[Any, float] = {}
        while len(lacking) < min(_MEASURED, len(tops)):
            features = max(tops, key=lambda each: tops[each][0] - lacking.get(each, 0.0))
            value, values = tops[features]
            if features in lacking or value <= best:
                break
            lead = self._task.meter.lead(self._space.parameters(values))
            lacking[features] = self._constraint.penalty(-lead - self._constraint.margin)
        least = min(lacking.values(), default=0.0)
        return [
            (value - lacking.get(values["num_features"], least), values) for value, values in scored
        ]
