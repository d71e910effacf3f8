"""The ceiling sampler for two objectives: in turn it looks for the best score of several weights.

Whatever a runtime weight chooses lies on the Pareto front, and weights from a fifth to ten times
the study's own spread over it. A weight that a user asks for afterwards need not be among them.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from studies.results.best_trial import DEFAULT_RUNTIME_WEIGHT
from studies.results.score import score
from tuner.problem import SearchSpace, SearchTask
from tuner.samplers.ceiling import CeilingSampler, Search
from tuner.samplers.history import TrialReader

__all__ = ["front_sampler", "front_weights"]

# In the order in which they take turns: far from each other first. Their number has no divisor in
# common with the sampler's own rhythms of two and three trials.
_TIMES = (1.0, 10.0, 0.2, 3.0, 0.5)


def front_weights(runtime_weight: float) -> tuple[float, ...]:
    """The weights that take turns, around the study's own; the usual one where that is zero."""
    return tuple(times * (runtime_weight or DEFAULT_RUNTIME_WEIGHT) for times in _TIMES)


def front_sampler(
    task: SearchTask, space: SearchSpace, *, runtime_weight: float, seed: int
) -> CeilingSampler:
    """A sampler whose searches take turns, one for each weight."""
    weights = front_weights(runtime_weight)
    searches = [
        Search.of(task, space, weight, seed, _WeightedReader(weights, place))
        for place, weight in enumerate(weights)
    ]
    return CeilingSampler(space, searches, seed)


class _WeightedReader(TrialReader):
    """What trials of two objectives have left, seen by one of the weights."""

    def __init__(self, weights: tuple[float, ...], place: int) -> None:
        self._weights, self._place = weights, place

    def score(self, trial: FrozenTrial) -> float | None:
        stored = trial.user_attrs
        if "iou" not in stored:
            return None
        return score(stored["iou"], stored["runtime_ratio"], self._weights[self._place])

    def forecast(self, trial: FrozenTrial) -> float | None:
        """It was made by the weight whose turn it was."""
        forecast = super().forecast(trial)
        if forecast is None:
            return None
        own, theirs = self._weights[self._place], self._weights[trial.number % len(self._weights)]
        return forecast + (theirs - own) * float(trial.user_attrs["runtime_ratio"])

    def probed(self, value: Any) -> float:
        """This weight's forecast."""
        return float(value[self._place])
