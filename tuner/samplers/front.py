"""The ceiling sampler for two objectives: searches with several runtime weights take turns.

The best setting for a runtime weight lies on the Pareto front, and weights from a fifth to ten
times the study's own spread over it. Users may later export with a weight that is not among them.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from studies.results.best_trial import DEFAULT_RUNTIME_WEIGHT
from studies.results.score import score
from tuner.problem import Constraint, SearchSpace, SearchTask
from tuner.samplers.ceiling import CeilingSampler, Search
from tuner.samplers.history import TrialReader

__all__ = ["front_sampler", "front_weights"]

# In the order of their turns: weights far apart first. Their number has no divisor in common with
# the proposer's periods of two and three trials.
_TIMES = (1.0, 10.0, 0.2, 3.0, 0.5)


def front_weights(runtime_weight: float) -> tuple[float, ...]:
    """The weights that take turns, around the study's own, or the default where that is zero."""
    return tuple(times * (runtime_weight or DEFAULT_RUNTIME_WEIGHT) for times in _TIMES)


def front_sampler(
    task: SearchTask,
    space: SearchSpace,
    *,
    runtime_weight: float,
    seed: int,
    constraint: Constraint | None = None,
) -> CeilingSampler:
    """A sampler whose searches take turns, one for each weight."""
    weights = front_weights(runtime_weight)
    searches = [
        Search.of(task, space, weight, seed, _WeightedReader(weights, place), constraint)
        for place, weight in enumerate(weights)
    ]
    return CeilingSampler(space, searches, seed)


class _WeightedReader(TrialReader):
    """Reads trials of two objectives as one of the runtime weights scores them."""

    def __init__(self, weights: tuple[float, ...], place: int) -> None:
        self._weights, self._place = weights, place

    def score(self, trial: FrozenTrial) -> float | None:
        stored = trial.user_attrs
        if "iou" not in stored:
            return None
        return score(stored["iou"], stored["runtime_ratio"], self._weights[self._place])

    def forecast(self, trial: FrozenTrial) -> float | None:
        """The forecast, converted from the weight of the search that made it to this weight."""
        forecast = super().forecast(trial)
        if forecast is None:
            return None
        own, theirs = self._weights[self._place], self._weights[trial.number % len(self._weights)]
        return forecast + (theirs - own) * float(trial.user_attrs["runtime_ratio"])

    def probed(self, value: Any) -> float:
        """The forecast of a stored probe for this weight."""
        return float(value[self._place])
