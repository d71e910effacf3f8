"""The default sampler: spends classifier answers where the ceiling says they can decide.

Three kinds of parameters are treated as what they are. Those that make the superpixel map are
ranked by the map's *ceiling*, which costs no answer. A map with a colour to hide behind is an
*arm*: probing it costs some answers. Everything else costs only a fit once an arm is probed, so it
is settled by replaying all of it. Every proposal is nevertheless one full parameter set, stored
as an ordinary trial.

Which arm is probed next is decided by a Gaussian process over what is known of arms beforehand
(ceilings, number of superpixels, algorithm, colour), fitted to what probes of this image reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from tuner.objectives import score
from tuner.problem import (
    CATEGORICAL_DIMENSIONS,
    SearchSpace,
    SearchTask,
)
from tuner.samplers.candidates import Arm, Arms
from tuner.samplers.gaussian_process import expected_improvement, gaussian_process

__all__ = ["CeilingSampler", "Reading"]

_START_UP = 12
_LOOK_AT_FIRST, _LOOK_PER_TRIAL = 1.5, 0.6  # seconds spent on superpixel maps
_EXPLOIT_EVERY = 3
_LEADING = 6  # arms that are exploited
_REPLAYED_SEEDS = 10  # fewer than a new best is scored on, so that luck shows
_PROBED_AT_START, _PROBED_PER_TRIAL = 450, 100  # answers, but at least one arm
_MOST_PROBES = 8  # of one round
_FURTHER_ROUNDS = 3  # of probes, before a trial that is not likely to win
_COARSE_ANSWERS, _COARSE_PER_TRIAL = 32, 3
# Replaying a probe takes time as well, as much as so many answers, and so does a trial.
_REPLAY_IS_WORTH, _TRIAL_IS_WORTH = 40, 200
_CEILING_IS_WORTH = 0.03  # at start-up: twice the answers for so much more
_WORTH_A_PROBE = 1e-6  # expected improvement for an answer; arms that promise less are let be
# What is foretold is the best of hundreds of settings on few seeds, so it is usually too good.
_USUAL_LAPSE_COUNTS = 0.5
# Under a constraint: an arm is let be after so many trials that did not meet it.
_INFEASIBLE_TRIALS, _HOPELESS = 2, 2.0
_NOTHING = -1.0  # what a forecast without any setting is worth
_TREND_GOES_ON = 0.5  # share of what the last doubling of samples brought, hoped for again


class Reading(Protocol):
    """How the sampler reads what earlier trials have left."""

    def score(self, trial: FrozenTrial) -> float | None:
        """Of a complete trial, or as far as one came that was stopped."""

    def foretold(self, trial: FrozenTrial) -> float | None:
        """The score that its proposal hoped for."""

    def probed(self, value: Any) -> float:
        """What a stored probe foretold."""


class _OneScore:
    """Of a study whose one objective is the score."""

    def score(self, trial: FrozenTrial) -> float | None:
        """The trial's value."""
        return trial.value

    def foretold(self, trial: FrozenTrial) -> float | None:
        """As it is stored."""
        found: float | None = trial.user_attrs.get("foretold")
        return found

    def probed(self, value: Any) -> float:
        """As it is stored."""
        return float(value)


@dataclass(frozen=True)
class _Known:
    """What is known of an arm.

    Attributes:
        samples, seeds: answers that are paid for.
        value: the best score of its trials, or what its probe foretold.
        lapse: by how much its trials fell short of what was foretold of them, on average.
    """

    samples: int
    seeds: int
    value: float
    lapse: float = 0.0


@dataclass(frozen=True)
class _Proposal:
    """A setting, what is foretold of it, and how many answers that would take to find out.

    Attributes:
        replayed: samples whose answers the forecast has seen.
    """

    values: dict[str, Any]
    foretold: float
    answers: int
    replayed: int

    def worth(self, best: float) -> float:
        """Hoped improvement for an answer."""
        return (self.foretold - best) / (self.answers + _TRIAL_IS_WORTH)


class CeilingSampler(optuna.samplers.BaseSampler):
    """Proposes full parameter sets for one image.

    The same seed, task and finished trials give the same proposal, so a resumed study goes on as
    if it had not been interrupted.

    Args:
        task: the image's task; its bank is asked when an arm is probed.
        space: what may be proposed.
        runtime_weight: as in the study's score.
        seed: base seed.
        reading: of what trials have left.
        arms: of this task, where plain ones will not do.

    Attributes:
        arms: what is known of them.
        replayed: how many samples the forecast of the last proposal has seen, on its first seeds.
        look_at_first, look_per_trial: seconds an image spent on superpixel maps, by the runtime
            model.
        probed_at_start, probed_per_trial: answers an image for probes, but at least one arm.
        most_probes: of one round. coarse_per_trial: probes of maps that cost next to nothing.
    """

    look_at_first, look_per_trial = _LOOK_AT_FIRST, _LOOK_PER_TRIAL
    probed_at_start, probed_per_trial = _PROBED_AT_START, _PROBED_PER_TRIAL
    most_probes, coarse_per_trial = _MOST_PROBES, _COARSE_PER_TRIAL

    def __init__(
        self,
        task: SearchTask,
        space: SearchSpace,
        *,
        runtime_weight: float,
        seed: int,
        reading: Reading | None = None,
        arms: Arms | None = None,
    ) -> None:
        self._task = task
        self._space = space
        self._weight = runtime_weight
        self._seed = seed
        self._fallback = optuna.samplers.RandomSampler(seed=seed)
        self._reading = reading or _OneScore()
        self.arms = Arms(task, space, runtime_weight) if arms is None else arms
        self._probes: list[list[Any]] = []
        self._foretold: float | None = None
        self.replayed = 0

    def reseed_rng(self) -> None:
        """Nothing to do: proposals depend on the seed and the finished trials only."""
        self._fallback.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """All dimensions of the space; a proposal names those of its own branch."""
        space = self._space
        found: dict[str, optuna.distributions.BaseDistribution] = {
            "segmentation": optuna.distributions.CategoricalDistribution(list(space.maps))
        }
        for algorithm, grid in space.maps.items():
            for name, values in grid.items():
                found[f"{algorithm}.{name}"] = optuna.distributions.CategoricalDistribution(
                    list(values)
                )
        for name in CATEGORICAL_DIMENSIONS:
            found[name] = optuna.distributions.CategoricalDistribution(list(getattr(space, name)))
        found["num_samples"] = optuna.distributions.IntDistribution(*space.num_samples, log=True)
        return found

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """One full parameter set."""
        self._probes, self._foretold, self.replayed = [], None, 0
        if self._is_given(study, trial):
            return {}
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        tried = {self._identity(t.params) for t in earlier if t.params}
        self.arms.look_at(self.look_at_first + self.look_per_trial * trial.number)
        known = self._known(earlier)
        rng = np.random.default_rng([self._seed, trial.number])
        best = self.best_of(earlier)
        if len(known) < _START_UP:
            self._probe(known, best, self.probed_at_start, _WORTH_A_PROBE)
            self._probe_coarse(known, best)
        elif trial.number % _EXPLOIT_EVERY != 0:
            self._probe(known, best, self.probed_per_trial, _WORTH_A_PROBE)
            self._probe_coarse(known, best)
        proposal = self._best_setting(known, tried, best)
        for _ in range(_FURTHER_ROUNDS):
            if proposal is not None or not self._probe(
                known, best, self.probed_per_trial, _WORTH_A_PROBE
            ):
                break
            proposal = self._best_setting(known, tried, best)
        if proposal is None:
            # Nothing is likely to win any more. Spend little: settings that ask nothing, and now
            # and then an arm that nobody believes in.
            if trial.number % 2:
                self._probe(known, best, self.probed_per_trial, 0.0)
            proposal = self._best_setting(known, tried, -math.inf)
        if proposal is None:
            return self._random(rng)
        self._foretold, self.replayed = proposal.foretold, proposal.replayed
        return proposal.values

    def _is_given(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether somebody has decided already; Optuna itself fills in what has one value only."""
        if "lime_parameters" in trial.user_attrs or trial.system_attrs.get("fixed_params"):
            return True
        dimensions = self.infer_relative_search_space(study, trial)
        return any(name not in dimensions or not dimensions[name].single() for name in trial.params)

    def best_of(self, trials: Sequence[FrozenTrial]) -> float:
        """The best score of the complete ones; -1 without any."""
        complete = (t for t in trials if t.state == TrialState.COMPLETE)
        return max((self._reading.score(t) or 0.0 for t in complete), default=-1.0)

    def notes(self) -> dict[str, Any]:
        """What the last proposal probed and hoped for; stored with its trial, so that a resumed
        study knows."""
        notes: dict[str, Any] = {"probed": self._probes} if self._probes else {}
        if self._foretold is not None:
            notes["foretold"] = self._foretold
        self._probes, self._foretold = [], None  # the next trial may be none of this sampler's
        return notes

    def foretold_of(self, values: Mapping[str, Any], samples: int, seeds: int) -> float:
        """What the forecast of an arm that is probed is worth to this sampler."""
        arm = self.arms.of(values)
        if arm is None:
            return _NOTHING
        return max(_NOTHING, self.arms.forecast(arm, samples, seeds, -math.inf).value)

    def _known(self, trials: Sequence[FrozenTrial]) -> dict[Arm, _Known]:
        """What probes and trials have found of each arm."""
        known: dict[Arm, _Known] = {}

        def note(arm: Arm | None, samples: int, seeds: int, value: float) -> None:
            if arm is None:
                return
            old = known.get(arm)
            if old is None:
                known[arm] = _Known(samples, seeds, value)
            else:
                paid = max((samples, seeds), (old.samples, old.seeds), key=math.prod)
                known[arm] = _Known(*paid, max(old.value, value))

        lapses: dict[Arm, list[float]] = {}
        barred: dict[Arm, int] = {}
        best = -1.0
        for trial in trials:
            for values, samples, seeds, value in trial.user_attrs.get("probed", ()):
                note(self.arms.of(values), samples, seeds, self._reading.probed(value))
            scored = self._reading.score(trial)
            seeds = min(len(trial.user_attrs.get("iou_per_seed", ())), _REPLAYED_SEEDS)
            if seeds and scored is not None and trial.params:
                note(
                    self.arms.of(trial.params), int(trial.params["num_samples"]), seeds, scored
                )
            arm, foretold = self.arms.of(trial.params), self._reading.foretold(trial)
            if arm is not None and trial.user_attrs.get("feasible") is False:
                barred[arm] = barred.get(arm, 0) + 1
            # Of a trial that was stopped only this is certain: it is no better than the best.
            complete = trial.state == TrialState.COMPLETE
            found = scored if complete and scored is not None else best
            if arm is not None and arm in known and foretold is not None:
                lapses.setdefault(arm, []).append(max(0.0, foretold - found))
            best = max(best, found)
        usual = [lapse for each in lapses.values() for lapse in each]
        prior = _USUAL_LAPSE_COUNTS * float(np.mean(usual)) if usual else 0.0

        def lapse(arm: Arm) -> float:
            own = lapses.get(arm, [])
            return (sum(own) + prior) / (len(own) + 1)

        lowest = min((each.value for each in known.values()), default=-1.0)
        return {
            arm: replace(each, value=lowest, lapse=_HOPELESS)
            if barred.get(arm, 0) >= _INFEASIBLE_TRIALS
            else replace(each, lapse=lapse(arm))
            for arm, each in known.items()
        }

    def _probe(self, known: dict[Arm, _Known], best: float, answers: int, least: float) -> bool:
        """Ask for the first answers of some new arms; whether there were any.

        Args:
            answers: to be spent; the first arm may take more.
            least: expected improvement for an answer, below which an arm is not worth it.
        """
        for number in range(self.most_probes):
            arm = self._next_arm(known, best, least)
            if arm is None:
                return number > 0
            price = self.arms.probe_answers(arm)
            if number and price > answers:
                break
            answers -= price
            self._ask(arm, known, best)
            if answers <= 0:
                break
        return True

    def _probe_coarse(self, known: dict[Arm, _Known], best: float) -> None:
        """Maps of so few superpixels cost nothing: all that could win are probed in the end."""
        left = self.coarse_per_trial
        for arm in self.arms.possible():
            if not left or self.arms.upper(arm) <= best:
                return
            if arm not in known and self.arms.probe_answers(arm) <= _COARSE_ANSWERS:
                self._ask(arm, known, best)
                left -= 1

    def _ask(self, arm: Arm, known: dict[Arm, _Known], best: float) -> None:
        samples, seeds = self.arms.first_probe(arm), self.arms.probe_seeds(arm)
        value = max(_NOTHING, self.arms.forecast(arm, samples, seeds, best).value)
        known[arm] = _Known(samples, seeds, value)
        self._probes.append([self.arms.identity(arm), samples, seeds, value])

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """Only for what a proposal leaves out."""
        return self._fallback.sample_independent(study, trial, param_name, param_distribution)

    def _next_arm(self, known: Mapping[Arm, _Known], best: float, least: float) -> Arm | None:
        """The arm with the most expected improvement for its price, of those that can still win.

        Expected improvement per cost: Snoek, Larochelle and Adams 2012, section 3.2.

        Args:
            least: as in :meth:`_probe`.
        """
        open_arms = [
            a for a in self.arms.possible() if a not in known and self.arms.upper(a) > best
        ]
        if not open_arms:
            return None
        if len(known) < _START_UP:
            return self._diverse(open_arms, list(known))
        features = np.array([self.arms.features(a) for a in [*known, *open_arms]])
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        targets = np.array([k.value for k in known.values()])
        mean, deviation = gaussian_process(features[: len(known)], targets, features[len(known) :])
        room = np.array([self.arms.upper(arm) for arm in open_arms]) - best
        gain = np.minimum(expected_improvement(mean - best, deviation), room)
        price = np.array([self.arms.probe_answers(arm) for arm in open_arms]) + _REPLAY_IS_WORTH
        chosen = int(np.argmax(gain / price))
        return open_arms[chosen] if gain[chosen] / price[chosen] >= least else None

    def _diverse(self, open_arms: Sequence[Arm], probed: Sequence[Arm]) -> Arm:
        """Start-up: high ceilings for few answers, among the kinds of arm probed least so far."""
        return min(
            open_arms,
            key=lambda arm: (*self.kinds_seen(arm, probed), -self.worth_at_start(arm)),
        )

    def kinds_seen(self, arm: Arm, probed: Sequence[Arm]) -> tuple[int, int]:
        """How many of the probed arms have its colour, and how many its algorithm."""

        def algorithm(arm: Arm) -> str:
            # Lime's own map is one of quickshift's.
            return "quickshift" if arm.segmentation is None else arm.segmentation.algorithm

        return (
            sum(other.hide_color == arm.hide_color for other in probed),
            sum(algorithm(other) == algorithm(arm) for other in probed),
        )

    def worth_at_start(self, arm: Arm) -> float:
        """The ceiling, less what its answers cost."""
        price = self.arms.probe_answers(arm) + _REPLAY_IS_WORTH
        return self.arms.upper(arm) - _CEILING_IS_WORTH * math.log2(price)

    # Choosing

    def _best_setting(
        self, known: Mapping[Arm, _Known], tried: set[tuple[Any, ...]], best: float
    ) -> _Proposal | None:
        """The untried setting of the leading arms with the most hoped improvement for an answer,
        or more samples where that may pay.

        Replays use the seeds that trials have paid for, so a setting that the forecast does not
        put above the best score would hardly get there.

        Args:
            best: score to beat; minus infinity takes any setting that needs no answer.
        """
        proposals: list[_Proposal] = []
        for arm in sorted(known, key=lambda arm: known[arm].lapse - known[arm].value)[:_LEADING]:
            paid = known[arm]
            forecast = self.arms.forecast(arm, paid.samples, paid.seeds, best)
            for value, values in forecast.settings:
                hoped = value - paid.lapse
                if hoped <= best:
                    break
                if self._identity(values) not in tried and self._bound(values) > best:
                    answers = self._answers(arm, values["num_samples"], paid)
                    proposals.append(_Proposal(values, hoped, answers, paid.samples))
                    if best == -math.inf:
                        break
            more = min(paid.samples * 2, self._space.num_samples[1])
            if more > paid.samples and forecast.settings and best > -math.inf:
                top = dict(forecast.settings[0][1], num_samples=more)
                step = self.arms.ratio(arm, more, top["num_features"]) - self.arms.ratio(
                    arm, paid.samples, top["num_features"]
                )
                hoped = forecast.value + _TREND_GOES_ON * forecast.trend - self._weight * step
                hoped = min(hoped - paid.lapse, self._bound(top))
                if hoped > best and self._identity(top) not in tried:
                    answers = self._answers(arm, more, paid)
                    proposals.append(_Proposal(top, hoped, answers, paid.samples))
        if best == -math.inf:
            return max(proposals, key=lambda p: p.foretold, default=None)
        return max(proposals, key=lambda p: p.worth(best), default=None)

    def _answers(self, arm: Arm, samples: int, paid: _Known) -> int:
        """What a trial would ask at most: patterns are few, and some are paid for."""
        rows = samples * _REPLAYED_SEEDS
        known = min(samples, paid.samples) * min(paid.seeds, _REPLAYED_SEEDS)
        return max(0, min(rows, self.arms.patterns(arm)) - known)

    def _bound(self, values: Mapping[str, Any]) -> float:
        """No trial with these values can score more, by the ceiling."""
        parameters = self._space.parameters(values)
        ceiling = self._task.view(parameters.segmentation).ceiling(parameters.num_features)
        return score(ceiling, self._task.runtime_ratio(parameters), self._weight)

    def _random(self, rng: np.random.Generator) -> dict[str, Any]:
        arms = self.arms.possible()
        if not arms:  # every map of the space is a single superpixel
            return {}
        arm = arms[int(rng.integers(len(arms)))]
        low, high = self._space.num_samples
        samples = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
        counts = self._space.num_features
        return self.arms.values(arm, min(samples, high), counts[int(rng.integers(len(counts)))])

    @staticmethod
    def _identity(values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted((name, str(value)) for name, value in values.items()))
