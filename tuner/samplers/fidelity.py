"""What a constraint takes off forecasts: for a low held-out R², and for a low gain.

The R² of every replayed setting costs nothing, as the perturbations of one explainer seed are held
out from another's. The gain, insertion minus deletion, needs a few predictions, so it is measured
only for settings that could win.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from explainers.lime import LimeParameters
from tuner.problem import Constraint, SearchSpace, TuningTask
from tuner.samplers.forecasts import Forecast

__all__ = ["FidelityPenalty"]

_MEASURED = 3  # settings of a probe whose gain is measured at most
_STEPS = 7  # of each curve; a quarter of those that decide at last


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

    def with_gains(self, forecast: Forecast, best: float) -> Forecast:
        """The forecast less what its settings lack in gain.

        Measured on one seed, for the best few as long as they could win. The others are expected to
        lack as much as the best of these.

        Args:
            best: score to beat.
        """
        left = list(forecast.settings)
        measured: list[tuple[float, dict[str, Any], float]] = []
        while left and len(measured) < _MEASURED and left[0][0] > best:
            value, values = left.pop(0)
            penalty = self._of_gain(self._space.parameters(values))
            measured.append((value - penalty, values, penalty))
            if not penalty:
                break
        if not measured:
            return forecast
        least = min(penalty for _, _, penalty in measured)
        settings = [
            *((value, values) for value, values, _ in measured),
            *((value - least, values) for value, values in left),
        ]
        settings.sort(key=lambda pair: -pair[0])
        return replace(forecast, value=settings[0][0], settings=tuple(settings))

    def _of_gain(self, parameters: LimeParameters) -> float:
        task = self._task
        own, least = (
            task.meter.gain(task.about(each), 0, _STEPS) for each in (parameters, LimeParameters())
        )
        return self._constraint.penalty(least - self._constraint.margin - own)
