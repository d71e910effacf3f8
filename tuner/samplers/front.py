"""The ceiling sampler for two objectives: in turn it looks for the best score of several weights.

Whatever a runtime weight chooses lies on the Pareto front, and weights from a fifth to ten times
the study's own spread over it. A weight that a user asks for afterwards need not be among them.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial

from tuner.objectives import score
from tuner.problem import SearchSpace, SearchTask
from tuner.samplers.candidates import Arms
from tuner.samplers.ceiling import CeilingSampler

__all__ = ["FrontSampler", "front_weights"]

# In the order in which they take turns: far from each other first. Their number has no divisor in
# common with the sampler's own rhythms of two and three trials.
_TIMES = (1.0, 10.0, 0.2, 3.0, 0.5)
_USUAL_WEIGHT = 0.1  # for studies that leave time out of it


def front_weights(runtime_weight: float) -> tuple[float, ...]:
    """The weights that take turns, around the study's own."""
    return tuple(times * (runtime_weight or _USUAL_WEIGHT) for times in _TIMES)


class FrontSampler(optuna.samplers.BaseSampler):
    """Proposes full parameter sets for one image, each by the weight whose turn it is.

    All weights share what is probed. As with :class:`~tuner.samplers.ceiling.CeilingSampler`, the
    same seed, task and finished trials give the same proposal.

    Args:
        task, space, seed: as for the ceiling sampler.
        weights: take turns by the number of the trial.
    """

    def __init__(
        self, task: SearchTask, space: SearchSpace, *, weights: tuple[float, ...], seed: int
    ) -> None:
        self._members = [
            CeilingSampler(
                task, space, runtime_weight=weight, seed=seed, reading=_Weighed(weights, place)
            )
            for place, weight in enumerate(weights)
        ]
        Arms.join([each.arms for each in self._members])
        self._turn = self._members[0]

    @property
    def replayed(self) -> int:
        """As the ceiling sampler's."""
        return self._turn.replayed

    def reseed_rng(self) -> None:
        """For what a proposal leaves out."""
        for each in self._members:
            each.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """All dimensions of the space."""
        return self._turn.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """One full parameter set."""
        self._turn = self._members[trial.number % len(self._members)]
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        for each in self._members:
            each.arms.best = each.best_of(earlier)
        return self._turn.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """Only for what a proposal leaves out."""
        return self._turn.sample_independent(study, trial, param_name, param_distribution)

    def notes(self) -> dict[str, Any]:
        """As the ceiling sampler's, but of a probe every weight's forecast."""
        notes = self._turn.notes()
        for probe in notes.get("probed", ()):
            values, samples, seeds, _ = probe
            probe[3] = [each.foretold_of(values, samples, seeds) for each in self._members]
        return notes


class _Weighed:
    """What trials of two objectives have left, seen by one of the weights."""

    def __init__(self, weights: tuple[float, ...], place: int) -> None:
        self._weights, self._place = weights, place

    def score(self, trial: FrozenTrial) -> float | None:
        """By this weight."""
        found = trial.user_attrs
        if "iou" not in found:
            return None
        return score(found["iou"], found["runtime_ratio"], self._weights[self._place])

    def foretold(self, trial: FrozenTrial) -> float | None:
        """It was foretold by the weight whose turn it was."""
        found: float | None = trial.user_attrs.get("foretold")
        if found is None:
            return None
        own, theirs = self._weights[self._place], self._weights[trial.number % len(self._weights)]
        return found + (theirs - own) * float(trial.user_attrs["runtime_ratio"])

    def probed(self, value: Any) -> float:
        """This weight's forecast."""
        return float(value[self._place])
