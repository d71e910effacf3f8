"""The default sampler: spends predictions where upper bounds leave a chance to win.

It treats three kinds of parameters differently. Those of the superpixel map are ranked by the
*upper bound* of the IoU that any explanation with this map can have, which needs no prediction. A
map with a hide colour is a *candidate*: probing it needs some predictions. All other parameters
need only a fit once a candidate is probed, so they are chosen by replaying all of them. Still,
every proposal is one full parameter set, stored as an ordinary trial.

This module adapts the search in :mod:`tuner.samplers.proposals` to Optuna.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuner.problem import CATEGORICAL_DIMENSIONS, Constraint, SearchSpace, SearchTask
from tuner.samplers.candidates import Candidates
from tuner.samplers.history import TrialReader, known_candidates
from tuner.samplers.proposals import Proposer, identity_of

__all__ = ["CeilingSampler", "Search"]


@dataclass(frozen=True, eq=False)
class Search:
    """The search with one runtime weight: its proposer, and its reader of earlier trials."""

    proposer: Proposer
    reader: TrialReader

    @classmethod
    def of(
        cls,
        task: SearchTask,
        space: SearchSpace,
        weight: float,
        seed: int,
        reader: TrialReader | None = None,
        constraint: Constraint | None = None,
    ) -> Search:
        """The search for one image's task."""
        candidates = Candidates(task, space, weight, constraint)
        proposer = Proposer(candidates, space, weight, seed)
        return cls(proposer, reader or TrialReader())


class CeilingSampler(optuna.samplers.BaseSampler):
    """Proposes full parameter sets for one image.

    A proposal is made in six steps; :class:`~tuner.samplers.proposals.Proposer` has them but for
    the first and the last:

    1. Compute superpixel maps, for as many modelled seconds as the number of the trial allows;
       algorithms whose maps have high upper bounds get more of them
       (:class:`~tuner.samplers.maps.MapSchedule`).
    2. Drop every candidate, a map with a colour to hide behind, whose upper bound is not above the
       best score.
    3. Choose candidates to probe by their expected improvement for a prediction, from a Gaussian
       process over what is known beforehand; the first dozen by their upper bounds. Every third
       trial leaves this out.
    4. Probe them: get the predictions of a few seeds, and replay all settings that cost only a fit.
    5. Of the leading candidates take the untried setting with the most hoped improvement for a
       prediction, or twice the samples where that may pay. What earlier forecasts fell short by
       comes off. Without any, probe again, up to three times; then take one that asks nothing, or
       a random one.
    6. Store probes and forecast with the trial, so that later trials and other processes know.

    LIME: `Ribeiro, Singh and Guestrin 2016 <https://arxiv.org/abs/1602.04938>`__. Expected
    improvement for its cost: `Snoek, Larochelle and Adams 2012, section 3.2
    <https://arxiv.org/abs/1206.2944>`__. The process: :mod:`tuner.samplers.gaussian_process`.

    The same seed, task and earlier trials give the same proposal, so a resumed study goes on as if
    it had not been interrupted. Only what trials have stored is learned from, hence a trial that
    still runs counts as far as it is stored: its setting is not proposed again, not even where it
    was stored while this proposal was made.

    For example::

        search = Search.of(task, space, weight=0.1, seed=0)
        sampler = CeilingSampler(space, [search], seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        parameters = space.suggest(study.ask())

    Args:
        searches: take turns by the trial's number, and share their probes.
        seed: seed of random values for dimensions that a proposal leaves out.

    Attributes:
        replayed: how many samples, on each of its first seeds, the last proposal's forecast used.
    """

    def __init__(self, space: SearchSpace, searches: Sequence[Search], seed: int) -> None:
        self._space, self.searches = space, tuple(searches)
        self._fallbacks = [optuna.samplers.RandomSampler(seed=seed) for _ in searches]
        Candidates.join([search.proposer.candidates for search in searches])
        self._turn = 0
        self._lock = threading.Lock()  # for studies that run several trials at once
        self._forecast: float | None = None
        self.replayed = 0

    def reseed_rng(self) -> None:
        """Reseed the random values only; proposals depend on seed and earlier trials."""
        for fallback in self._fallbacks:
            fallback.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space = self._space
        choices: dict[str, Sequence[Any]] = {"segmentation": list(space.maps)}
        for algorithm, grid in space.maps.items():
            choices |= {f"{algorithm}.{name}": values for name, values in grid.items()}
        choices |= {name: getattr(space, name) for name in CATEGORICAL_DIMENSIONS}
        return {
            **{name: CategoricalDistribution(list(values)) for name, values in choices.items()},
            "num_samples": IntDistribution(*space.num_samples, log=True),
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One full parameter set; dimensions that are not in the space are drawn at random."""
        dimensions = self.infer_relative_search_space(study, trial)
        fallback = self._fallbacks[trial.number % len(self.searches)]
        others = {
            name: fallback.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
            if dimensions.get(name) != distribution
        }
        if len(others) == len(search_space):
            return others
        with self._lock:
            return self._proposed(study, trial) | others

    def _proposed(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        self._turn = trial.number % len(self.searches)
        self._forecast, self.replayed = None, 0
        proposer, reader = self.searches[self._turn].proposer, self.searches[self._turn].reader
        proposer.probes = []
        if self._is_given(study, trial):
            return {}
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        for search in self.searches:
            search.proposer.candidates.best = search.reader.best_of(earlier)
        budget, candidates = proposer.budget, proposer.candidates
        candidates.segment(budget.maps_at_first + budget.maps_per_trial * trial.number)
        known, best = known_candidates(earlier, candidates, reader), reader.best_of(earlier)
        tried = {identity_of(t.params) for t in earlier if t.params}
        proposal = proposer.propose(trial.number, known, tried, best)
        # Another worker that knew the same may have come to the same proposal meanwhile.
        taken = _taken(study, trial)
        if identity_of(proposal.values) in taken:
            proposal = proposer.another(trial.number, known, tried | taken, best)
        self._forecast, self.replayed = proposal.forecast, proposal.replayed
        return proposal.values

    def _is_given(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial's parameters are given; Optuna itself sets those with one choice."""
        if "lime_parameters" in trial.user_attrs or trial.system_attrs.get("fixed_params"):
            return True
        dimensions = self.infer_relative_search_space(study, trial)
        return any(name not in dimensions or not dimensions[name].single() for name in trial.params)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._fallbacks[self._turn].sample_independent(
            study, trial, param_name, param_distribution
        )

    def notes(self) -> dict[str, Any]:
        """Attributes for the trial: the probes and the forecast of the last proposal.

        A resumed study reads them. With several searches a probe holds the forecast of each.
        """
        proposer = self.searches[self._turn].proposer
        probes, forecast = proposer.probes, self._forecast
        proposer.probes, self._forecast = [], None  # the next trial may come from elsewhere
        if len(self.searches) > 1:
            for probe in probes:
                probe[3] = [s.proposer.forecast_of(*probe[:3]) for s in self.searches]
        notes: dict[str, Any] = {"probed": probes} if probes else {}
        return notes if forecast is None else {**notes, "foretold": forecast}


def _taken(study: optuna.Study, trial: FrozenTrial) -> set[tuple[Any, ...]]:
    """Settings of all other trials that were begun, also of those with a higher number."""
    return {
        identity_of(other.params)
        for other in study.get_trials(deepcopy=False)
        if other.params and other.number != trial.number and other.state != TrialState.WAITING
    }
