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
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from tuner.arms import Arm, Arms, Forecast
from tuner.objective import score
from tuner.search_space import (
    CATEGORICAL_DIMENSIONS,
    LIME_DEFAULT,
    SearchSpace,
)
from tuner.task import TuningTask

__all__ = ["CeilingSampler"]

_START_UP = 8
_LOOK_AT_FIRST, _LOOK_PER_TRIAL = 1.5, 0.6  # seconds spent on superpixel maps
_EXPLOIT_EVERY = 3
_LEADING = 6  # arms that are exploited
_REPLAYED_SEEDS = 20
_PROBES_PER_TRIAL = 3
_EXPLORATION = 1.0  # standard deviations added to the forecast of an arm
_WORTH_A_PROBE = 2.0  # an arm that needs more of them to be the best is not probed
_MORE_SAMPLES_BONUS = 0.01  # IoU hoped for from doubling the samples of a good arm


@dataclass(frozen=True)
class _Answered:
    """Answers that an arm has: so many samples of so many seeds."""

    samples: int
    seeds: int


class CeilingSampler(optuna.samplers.BaseSampler):
    """Proposes full parameter sets for one image.

    The same seed, task and finished trials give the same proposal, so a resumed study goes on as
    if it had not been interrupted.

    Args:
        task: the image's task; its bank is asked when an arm is probed.
        space: what may be proposed.
        runtime_weight: as in the study's score.
        seed: base seed.
    """

    def __init__(
        self, task: TuningTask, space: SearchSpace, *, runtime_weight: float, seed: int
    ) -> None:
        self._task = task
        self._space = space
        self._weight = runtime_weight
        self._seed = seed
        self._fallback = optuna.samplers.RandomSampler(seed=seed)
        self._arms = Arms(task, space, runtime_weight)
        self._hopeless: set[Arm] = set()

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
        if trial.system_attrs.get("fixed_params") or "lime_parameters" in trial.user_attrs:
            return {}
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        tried = {self._identity(t.params) for t in earlier if t.params}
        self._arms.look_at(_LOOK_AT_FIRST + _LOOK_PER_TRIAL * trial.number)
        probed: dict[Arm, _Answered] = {}
        for each in earlier:
            arm = self._arms.of(each.params)
            if arm is not None:
                self._note(probed, arm, each)
        rng = np.random.default_rng([self._seed, trial.number])
        best = max(
            (t.value or 0.0 for t in earlier if t.state == TrialState.COMPLETE), default=-1.0
        )
        results = _results(earlier, self._arms.of)
        starting = len(probed) < _START_UP
        proposal = None
        if starting or trial.number % _EXPLOIT_EVERY != 0:
            proposal = self._explore(probed, results, tried, best, _WORTH_A_PROBE)
        if proposal is None:
            proposal = self._exploit(probed, results, tried, best)
        if proposal is None:
            # Nothing is likely to win any more. Spend little: settings that ask nothing, and now
            # and then an arm that nobody believes in.
            proposal = self._exploit(probed, results, tried, -math.inf)
            if proposal is None or trial.number % 2:
                doubtful = self._explore(probed, results, tried, best, math.inf, probes=1)
                proposal = doubtful or proposal
        return proposal if proposal is not None else self._random(rng)

    def _note(self, probed: dict[Arm, _Answered], arm: Arm, trial: FrozenTrial) -> None:
        """Remember what replaying an arm can use without asking."""
        seeds = len(trial.user_attrs.get("iou_per_seed", ()))
        found = _Answered(int(trial.params["num_samples"]), min(seeds, _REPLAYED_SEEDS))
        first = _Answered(self._arms.first_probe(arm), self._arms.probe_seeds(arm))
        probed[arm] = max(probed.get(arm, first), found, key=lambda a: a.samples * a.seeds)

    def _explore(
        self,
        probed: dict[Arm, _Answered],
        results: Mapping[Arm, float],
        tried: set[tuple[Any, ...]],
        best: float,
        deviations: float,
        probes: int = _PROBES_PER_TRIAL,
    ) -> dict[str, Any] | None:
        """The best setting of a new arm; one that cannot win costs its probe, but no trial."""
        for _ in range(probes):
            arm = self._next_arm(probed, results, best, deviations)
            if arm is None:
                return None
            first = _Answered(self._arms.first_probe(arm), self._arms.probe_seeds(arm))
            forecast = self._arms.forecast(arm, first.samples, first.seeds, best)
            fresh = self._first_untried(forecast, tried, best)
            if fresh is not None:
                return fresh
            probed[arm] = first
            self._hopeless.add(arm)  # for good: the best score only rises
        return None

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """Only for what a proposal leaves out."""
        return self._fallback.sample_independent(study, trial, param_name, param_distribution)

    def _next_arm(
        self,
        probed: Mapping[Arm, _Answered],
        results: Mapping[Arm, float],
        best: float,
        deviations: float,
    ) -> Arm | None:
        """The arm whose forecast plus uncertainty is highest, among those that can still win.

        Args:
            deviations: arms that need more of them to be the best are left.
        """
        open_arms = [
            a
            for a in self._arms.possible()
            if a not in probed and a not in self._hopeless and self._arms.upper(a) > best
        ]
        if not open_arms:
            return None
        if len(probed) < _START_UP or len(results) < 4:
            return self._diverse(open_arms, list(probed))
        known = [arm for arm in results if arm in probed]
        features = np.array([self._arms.features(a) for a in [*known, *open_arms]])
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        targets = np.array([results[arm] for arm in known])
        mean, deviation = _gaussian_process(features[: len(known)], targets, features[len(known) :])
        upper = [self._arms.upper(arm) for arm in open_arms]
        bound = np.minimum(mean + _EXPLORATION * deviation, upper)
        chosen = int(np.argmax(bound))
        if mean[chosen] + deviations * deviation[chosen] < best:
            return None
        return open_arms[chosen]

    def _diverse(self, open_arms: Sequence[Arm], probed: Sequence[Arm]) -> Arm:
        """Start-up: the highest ceiling among the kinds of arm probed least so far."""

        def kind(arm: Arm) -> tuple[str, str]:
            algorithm = LIME_DEFAULT if arm.segmentation is None else arm.segmentation.algorithm
            return algorithm, arm.hide_color

        def seen(arm: Arm) -> tuple[int, int]:
            algorithm, color = kind(arm)
            return (
                sum(kind(p)[1] == color for p in probed),
                sum(kind(p)[0] == algorithm for p in probed),
            )

        return min(open_arms, key=lambda arm: (*seen(arm), -self._arms.upper(arm)))

    # Choosing

    def _exploit(
        self,
        probed: Mapping[Arm, _Answered],
        results: Mapping[Arm, float],
        tried: set[tuple[Any, ...]],
        best: float,
    ) -> dict[str, Any] | None:
        """The best untried setting of a probed arm, or more samples where that may pay.

        Replays use every seed that trials have paid for, so a setting that the forecast does not
        put above the best score would not get there.

        Args:
            best: score to beat; minus infinity takes any setting that needs no answer.
        """
        candidates: list[tuple[float, dict[str, Any]]] = []
        leading = sorted(probed, key=lambda arm: -results.get(arm, -math.inf))[:_LEADING]
        for arm in leading:
            known = probed[arm]
            forecast = self._arms.forecast(arm, known.samples, known.seeds, best)
            for value, values in forecast.settings:
                if value <= best:
                    break
                if self._identity(values) not in tried and self._can_beat(values, best):
                    candidates.append((value, values))
                    break
            more = min(known.samples * 2, self._space.num_samples[1])
            if more > known.samples and forecast.settings and best > -math.inf:
                top = dict(forecast.settings[0][1], num_samples=more)
                step = self._arms.ratio(arm, more, top["num_features"]) - self._arms.ratio(
                    arm, known.samples, top["num_features"]
                )
                hoped = forecast.value + _MORE_SAMPLES_BONUS - self._weight * step
                if hoped > best and self._identity(top) not in tried and self._can_beat(top, best):
                    candidates.append((hoped, top))
        if not candidates:
            return None
        return max(candidates, key=lambda pair: pair[0])[1]

    def _first_untried(
        self, forecast: Forecast, tried: set[tuple[Any, ...]], best: float
    ) -> dict[str, Any] | None:
        for _, values in forecast.settings:
            if self._identity(values) not in tried and self._can_beat(values, best):
                return values
        return None

    def _can_beat(self, values: Mapping[str, Any], best: float) -> bool:
        """Whether the ceiling leaves these values a chance against the best score."""
        parameters = self._space.parameters(values)
        ceiling = self._task.view(parameters.segmentation).ceiling(parameters.num_features)
        return score(ceiling, self._task.runtime_ratio(parameters), self._weight) > best

    def _random(self, rng: np.random.Generator) -> dict[str, Any]:
        arms = self._arms.possible()
        if not arms:  # every map of the space is a single superpixel
            return {}
        arm = arms[int(rng.integers(len(arms)))]
        low, high = self._space.num_samples
        samples = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
        counts = self._space.num_features
        return self._arms.values(arm, min(samples, high), counts[int(rng.integers(len(counts)))])

    @staticmethod
    def _identity(values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted((name, str(value)) for name, value in values.items()))


def _results(trials: Sequence[FrozenTrial], arm_of: Any) -> dict[Arm, float]:
    """Best measured score of each arm; pruned trials count with what they had."""
    results: dict[Arm, float] = {}
    for trial in trials:
        arm = arm_of(trial.params)
        if arm is None or trial.value is None:
            continue
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            results[arm] = max(results.get(arm, -math.inf), trial.value)
    return results


def _gaussian_process(
    x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of scikit-learn's Gaussian process with a Matérn 5/2 kernel."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(0.01, (1e-4, 1.0)) * Matern(2.0, (0.3, 30.0), nu=2.5) + WhiteKernel(
        0.001, (1e-5, 0.05)
    )
    process = GaussianProcessRegressor(kernel, random_state=0)
    centre = float(y.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(x, y - centre)
    mean, deviation = process.predict(at, return_std=True)
    return mean + centre, deviation
