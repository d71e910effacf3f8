"""Chooses what to probe and what to try next: by expected improvement per prediction.

The next candidate to probe is chosen by a Gaussian process. Its features are known beforehand
(upper bounds, number of superpixels, algorithm, colour); it is fitted to the forecasts of this
image's probes. This module does not use Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.problem import SearchSpace
from tuner.samplers.candidates import Candidate, Candidates
from tuner.samplers.gaussian_process import expected_improvement, gaussian_process, standardised
from tuner.samplers.history import NOTHING, REPLAYED_SEEDS, KnownCandidate

__all__ = ["Budget", "Known", "Proposal", "Proposer", "identity_of"]

Known = dict[Candidate, KnownCandidate]

_START_UP = 12  # candidates probed by their upper bounds, before the Gaussian process decides
_EXPLOIT_EVERY = 3  # every third trial begins without a probe
_LEADING = 6  # candidates that are exploited
_FURTHER_ROUNDS = 3  # of probes, before a trial that is not likely to win
_COARSE_ANSWERS = 32  # predictions of a probe that costs next to nothing
# Replaying a probe takes time as well, as much as so many predictions, and so does a trial.
_REPLAY_IS_WORTH, _TRIAL_IS_WORTH = 40, 200
_BOUND_IS_WORTH = 0.03  # at start-up, a bound higher by this justifies twice the predictions
_WORTH_A_PROBE = 1e-6  # least expected improvement per prediction of a probe
_TREND_GOES_ON = 0.5  # share of the last doubling's gain that is expected from one more


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        maps_at_first, maps_per_trial: modelled seconds for superpixel maps.
        probed_at_start, probed_per_trial: predictions for the probes of one round; at least one
            candidate is probed.
        most_probes: most probes in one round.
        coarse_per_trial: further probes of maps with so few superpixels that they cost hardly
            anything.
    """

    maps_at_first: float = 1.5
    maps_per_trial: float = 0.6
    probed_at_start: int = 450
    probed_per_trial: int = 100
    most_probes: int = 8
    coarse_per_trial: int = 3


@dataclass(frozen=True)
class Proposal:
    """A proposed setting, its forecast, and the cost of a trial.

    Attributes:
        values: trial values, one for each dimension of the setting's branch.
        forecast: the expected score; ``None`` for a random setting.
        answers: the most new predictions that a trial needs.
        replayed: how many samples the forecast has used.
    """

    values: dict[str, Any]
    forecast: float | None = None
    answers: int = 0
    replayed: int = 0

    def worth(self, best: float) -> float:
        """Expected improvement per prediction."""
        return ((self.forecast or 0.0) - best) / (self.answers + _TRIAL_IS_WORTH)


def identity_of(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """A hashable key that is equal for equal trial values."""
    return tuple(sorted((name, str(value)) for name, value in values.items()))


class Proposer:
    """Proposes settings for one task with one runtime weight.

    Args:
        weight: the runtime weight.
        seed: seed of random settings, together with the trial's number.

    Attributes:
        probes: the probes for the last proposal: the candidate's values, samples, seeds, forecast.
    """

    budget = Budget()

    def __init__(
        self, candidates: Candidates, space: SearchSpace, weight: float, seed: int
    ) -> None:
        self.candidates = candidates
        self._space, self._weight, self._seed = space, weight, seed
        self.probes: list[list[Any]] = []

    def propose(
        self, number: int, known: Known, tried: set[tuple[Any, ...]], best: float
    ) -> Proposal:
        """Propose one full parameter set.

        Args:
            number: the trial's number.
            known: the candidates known from earlier trials; new probes are added.
            tried: values of earlier trials, see :func:`identity_of`.
            best: score to beat.
        """
        self.probes, budget = [], self.budget
        if len(known) < _START_UP:
            self._probe(known, best, budget.probed_at_start, _WORTH_A_PROBE)
            self._probe_coarse(known, best)
        elif number % _EXPLOIT_EVERY != 0:
            self._probe(known, best, budget.probed_per_trial, _WORTH_A_PROBE)
            self._probe_coarse(known, best)
        proposal = self._best_setting(known, tried, best)
        for _ in range(_FURTHER_ROUNDS):
            if proposal is not None or not self._probe(
                known, best, budget.probed_per_trial, _WORTH_A_PROBE
            ):
                break
            proposal = self._best_setting(known, tried, best)
        # Where nothing is likely to win any more, spend little: settings that need no predictions,
        # and in every second trial a probe of an unlikely candidate.
        if proposal is None and number % 2:
            self._probe(known, best, budget.probed_per_trial, 0.0)
        return proposal or self.another(number, known, tried, -math.inf)

    def another(
        self, number: int, known: Known, tried: set[tuple[Any, ...]], best: float
    ) -> Proposal:
        """Propose one full parameter set without any probe; see :meth:`propose`."""
        return (
            self._best_setting(known, tried, best)
            or self._best_setting(known, tried, -math.inf)
            or Proposal(self._random(np.random.default_rng([self._seed, number])))
        )

    def forecast_of(self, values: Mapping[str, Any], samples: int, seeds: int) -> float:
        """The forecast of a probed candidate with this proposer's runtime weight."""
        candidate = self.candidates.of(values)
        if candidate is None:
            return NOTHING
        return max(NOTHING, self.candidates.forecast(candidate, samples, seeds, -math.inf).value)

    # Probing

    def _probe(self, known: Known, best: float, answers: int, least: float) -> bool:
        """Probe some new candidates; returns whether there were any.

        Args:
            answers: budget of predictions; the first candidate may exceed it.
            least: expected improvement per prediction below which a candidate is skipped.
        """
        for number in range(self.budget.most_probes):
            candidate = self._next_candidate(known, best, least)
            if candidate is None:
                return number > 0
            price = self.candidates.probe_answers(candidate)
            if number and price > answers:
                break
            answers -= price
            self._ask(candidate, known, best)
            if answers <= 0:
                break
        return True

    def _probe_coarse(self, known: Known, best: float) -> None:
        """Probe some maps with few superpixels, which cost hardly anything, if they could win."""
        left = self.budget.coarse_per_trial
        for candidate in self.candidates.possible():
            if not left or self.candidates.upper(candidate) <= best:
                return
            cheap = self.candidates.probe_answers(candidate) <= _COARSE_ANSWERS
            if candidate not in known and cheap:
                self._ask(candidate, known, best)
                left -= 1

    def _ask(self, candidate: Candidate, known: Known, best: float) -> None:
        samples = self.candidates.first_probe(candidate)
        seeds = self.candidates.probe_seeds(candidate)
        value = max(NOTHING, self.candidates.forecast(candidate, samples, seeds, best).value)
        known[candidate] = KnownCandidate(samples, seeds, value)
        self.probes.append([self.candidates.identity(candidate), samples, seeds, value])

    def _next_candidate(self, known: Known, best: float, least: float) -> Candidate | None:
        """The candidate with the highest expected improvement per cost, of those that can win.

        See Snoek, Larochelle and Adams 2012, section 3.2.

        Args:
            least: as in :meth:`_probe`.
        """
        candidates = self.candidates
        left = [c for c in candidates.possible() if c not in known and candidates.upper(c) > best]
        if not left:
            return None
        if len(known) < _START_UP:
            return self._first(left, list(known))
        features = standardised(np.array([candidates.features(c) for c in [*known, *left]]))
        targets = np.array([k.value for k in known.values()])
        mean, deviation = gaussian_process(features[: len(known)], targets, features[len(known) :])
        room = np.array([candidates.upper(c) for c in left]) - best
        gain = np.minimum(expected_improvement(mean - best, deviation), room)
        price = np.array([candidates.probe_answers(c) for c in left]) + _REPLAY_IS_WORTH
        chosen = int(np.argmax(gain / price))
        return left[chosen] if gain[chosen] / price[chosen] >= least else None

    def _first(self, left: Sequence[Candidate], probed: Sequence[Candidate]) -> Candidate:
        """Start-up: high bounds for few predictions, among the kinds probed least so far."""
        return min(left, key=lambda c: (*kinds_seen(c, probed), -self.worth_at_start(c)))

    def worth_at_start(self, candidate: Candidate) -> float:
        """The upper bound, minus a penalty for the predictions of a probe."""
        price = self.candidates.probe_answers(candidate) + _REPLAY_IS_WORTH
        return self.candidates.upper(candidate) - _BOUND_IS_WORTH * math.log2(price)

    # Choosing

    def _best_setting(
        self, known: Known, tried: set[tuple[Any, ...]], best: float
    ) -> Proposal | None:
        """The untried setting of the leading candidates with the highest expected improvement per
        prediction; may be a leading setting with twice the samples.

        Replays use the same first seeds as trials, so a setting with a forecast below the best
        score would hardly exceed it in a trial.

        Args:
            best: score to beat; minus infinity takes the setting with the best forecast.
        """
        proposals: list[Proposal] = []
        leading = sorted(known, key=lambda c: known[c].shortfall - known[c].value)[:_LEADING]
        for candidate in leading:
            paid = known[candidate]
            forecast = self.candidates.forecast(candidate, paid.samples, paid.seeds, best)
            for value, values in forecast.settings:
                hoped = value - paid.shortfall
                if hoped <= best:
                    break
                if identity_of(values) not in tried and self.candidates.bound(values) > best:
                    answers = self._answers(candidate, values["num_samples"], paid)
                    proposals.append(Proposal(values, hoped, answers, paid.samples))
                    if best == -math.inf:
                        break
            more = min(paid.samples * 2, self._space.num_samples[1])
            if more > paid.samples and forecast.settings and best > -math.inf:
                top = dict(forecast.settings[0][1], num_samples=more)
                step = self.candidates.ratio(
                    candidate, more, top["num_features"]
                ) - self.candidates.ratio(candidate, paid.samples, top["num_features"])
                hoped = forecast.value + _TREND_GOES_ON * forecast.trend - self._weight * step
                hoped = min(hoped - paid.shortfall, self.candidates.bound(top))
                if hoped > best and identity_of(top) not in tried:
                    answers = self._answers(candidate, more, paid)
                    proposals.append(Proposal(top, hoped, answers, paid.samples))
        if best == -math.inf:
            return max(proposals, key=lambda p: p.forecast or 0.0, default=None)
        return max(proposals, key=lambda p: p.worth(best), default=None)

    def _answers(self, candidate: Candidate, samples: int, paid: KnownCandidate) -> int:
        """The most new predictions of a trial, without those that the candidate has already."""
        rows = samples * REPLAYED_SEEDS
        known = min(samples, paid.samples) * min(paid.seeds, REPLAYED_SEEDS)
        return max(0, min(rows, self.candidates.patterns(candidate)) - known)

    def _random(self, rng: np.random.Generator) -> dict[str, Any]:
        possible = self.candidates.possible()
        if not possible:  # every map of the space is a single superpixel
            return {}
        candidate = possible[int(rng.integers(len(possible)))]
        low, high = self._space.num_samples
        samples = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
        counts = self._space.num_features
        count = counts[int(rng.integers(len(counts)))]
        return self.candidates.values(candidate, min(samples, high), count)


def kinds_seen(candidate: Candidate, probed: Sequence[Candidate]) -> tuple[int, int]:
    """How many of the probed candidates have its colour, and how many its algorithm."""

    def algorithm(one: Candidate) -> str:
        # Lime's own map is one of quickshift's.
        return "quickshift" if one.segmentation is None else one.algorithm

    return (
        sum(other.hide_color == candidate.hide_color for other in probed),
        sum(algorithm(other) == algorithm(candidate) for other in probed),
    )
