"""What to probe and what to try next: expected improvement for the predictions that it costs.

Which candidate is probed next is decided by a Gaussian process over what is known of candidates
beforehand (upper bounds, number of superpixels, algorithm, colour), fitted to what probes of this
image reached. No Optuna here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.problem import SearchSpace
from tuner.samplers.candidates import Candidate, Candidates
from tuner.samplers.gaussian_process import expected_improvement, gaussian_process
from tuner.samplers.history import NOTHING, REPLAYED_SEEDS, KnownCandidate

__all__ = ["Budget", "Known", "Proposal", "Proposer", "identity_of"]

Known = dict[Candidate, KnownCandidate]

_START_UP = 12
_EXPLOIT_EVERY = 3
_LEADING = 6  # candidates that are exploited
_FURTHER_ROUNDS = 3  # of probes, before a trial that is not likely to win
_COARSE_ANSWERS = 32
# Replaying a probe takes time as well, as much as so many predictions, and so does a trial.
_REPLAY_IS_WORTH, _TRIAL_IS_WORTH = 40, 200
_BOUND_IS_WORTH = 0.03  # at start-up: twice the predictions for so much more
_WORTH_A_PROBE = 1e-6  # expected improvement for a prediction; what promises less is skipped
_TREND_GOES_ON = 0.5  # share of what the last doubling of samples brought, hoped for again


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        maps_at_first, maps_per_trial: seconds spent on superpixel maps, by the runtime model.
        probed_at_start, probed_per_trial: predictions for probes, but at least one candidate.
        most_probes: of one round.
        coarse_per_trial: probes of maps that cost next to nothing.
    """

    maps_at_first: float = 1.5
    maps_per_trial: float = 0.6
    probed_at_start: int = 450
    probed_per_trial: int = 100
    most_probes: int = 8
    coarse_per_trial: int = 3


@dataclass(frozen=True)
class Proposal:
    """A setting, its forecast, and what it costs to measure it.

    Attributes:
        values: of a trial, one for each dimension of its branch.
        forecast: the score that is hoped for; ``None`` for a random setting.
        answers: predictions that a trial would ask for at most.
        replayed: samples whose predictions the forecast has seen.
    """

    values: dict[str, Any]
    forecast: float | None = None
    answers: int = 0
    replayed: int = 0

    def worth(self, best: float) -> float:
        """Hoped improvement for a prediction."""
        return ((self.forecast or 0.0) - best) / (self.answers + _TRIAL_IS_WORTH)


def identity_of(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells apart the values of two trials."""
    return tuple(sorted((name, str(value)) for name, value in values.items()))


class Proposer:
    """Proposes settings of one task by one runtime weight.

    Args:
        weight: the runtime weight.
        seed: of random settings; the trial's number goes with it.

    Attributes:
        probes: of the last proposal: candidate's values, samples, seeds, forecast.
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
        """One full parameter set.

        Args:
            number: of the trial.
            known: by earlier trials; probes are added.
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
        if proposal is None:
            # Nothing is likely to win any more. Spend little: settings that ask nothing, and now
            # and then a candidate that nobody believes in.
            if number % 2:
                self._probe(known, best, budget.probed_per_trial, 0.0)
            proposal = self._best_setting(known, tried, -math.inf)
        return proposal or Proposal(self._random(np.random.default_rng([self._seed, number])))

    def forecast_of(self, values: Mapping[str, Any], samples: int, seeds: int) -> float:
        """What the forecast of a candidate that is probed is worth here."""
        candidate = self.candidates.of(values)
        if candidate is None:
            return NOTHING
        return max(NOTHING, self.candidates.forecast(candidate, samples, seeds, -math.inf).value)

    # Probing

    def _probe(self, known: Known, best: float, answers: int, least: float) -> bool:
        """Ask for the first predictions of some new candidates; whether there were any.

        Args:
            answers: to be spent; the first candidate may take more.
            least: expected improvement for a prediction, below which a candidate is skipped.
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
        """Maps of so few superpixels cost nothing: all that could win are probed in the end."""
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
        """The one with the most expected improvement for its price, of those that can still win.

        Expected improvement per cost: Snoek, Larochelle and Adams 2012, section 3.2.

        Args:
            least: as in :meth:`_probe`.
        """
        candidates = self.candidates
        left = [c for c in candidates.possible() if c not in known and candidates.upper(c) > best]
        if not left:
            return None
        if len(known) < _START_UP:
            return self._first(left, list(known))
        features = np.array([candidates.features(c) for c in [*known, *left]])
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
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
        """The upper bound, less what its predictions cost."""
        price = self.candidates.probe_answers(candidate) + _REPLAY_IS_WORTH
        return self.candidates.upper(candidate) - _BOUND_IS_WORTH * math.log2(price)

    # Choosing

    def _best_setting(
        self, known: Known, tried: set[tuple[Any, ...]], best: float
    ) -> Proposal | None:
        """The untried setting of the leading candidates with the most hoped improvement for a
        prediction, or more samples where that may pay.

        Replays use the seeds that trials have paid for, so a setting that the forecast does not
        put above the best score would hardly get there.

        Args:
            best: score to beat; minus infinity takes any setting that needs no prediction.
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
        """What a trial would ask at most: patterns are few, and some are paid for."""
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
