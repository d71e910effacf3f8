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
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from tuner.arms import MOST_PROBE_SAMPLES, Arm, Arms, Forecast
from tuner.objective import score
from tuner.search_space import (
    CATEGORICAL_DIMENSIONS,
    LIME_DEFAULT,
    SearchSpace,
)
from tuner.task import TuningTask

__all__ = ["CeilingSampler"]

_START_UP = 8
_EXPLOIT_EVERY = 3
_PROBES_PER_TRIAL = 3
_EXPLORATION = 1.0  # standard deviations added to the forecast of an arm
_MORE_SAMPLES_BONUS = 0.01  # IoU hoped for from doubling the samples of a good arm


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
        probed: dict[Arm, int] = {}
        possible = set(self._arms.possible())
        for each in earlier:
            arm = self._arms.of(each.params)
            if arm is not None and arm in possible:
                samples = min(int(each.params["num_samples"]), self._space.num_samples[1])
                probed[arm] = max(probed.get(arm, 0), samples, self._arms.first_probe(arm))
        rng = np.random.default_rng([self._seed, trial.number])
        best = max(
            (t.value or 0.0 for t in earlier if t.state == TrialState.COMPLETE), default=-1.0
        )
        results = _results(earlier, self._arms.of)
        explore = len(probed) < _START_UP or trial.number % _EXPLOIT_EVERY != 0
        # An arm whose replay shows that it cannot win costs its probe, but no trial.
        for _ in range(_PROBES_PER_TRIAL if explore else 0):
            arm = self._next_arm(probed, results, best)
            if arm is not None:
                fresh = self._first_untried(
                    self._arms.forecast(arm, self._arms.first_probe(arm), best), tried, best
                )
                if fresh is not None:
                    return fresh
                probed[arm] = self._arms.first_probe(arm)
                self._hopeless.add(arm)  # for good: the best score only rises
        exploit = self._exploit(probed, results, tried, best)
        return exploit if exploit is not None else self._random(rng)

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
        probed: Mapping[Arm, int],
        results: Mapping[Arm, float],
        best: float,
    ) -> Arm | None:
        """The arm whose forecast plus uncertainty is highest, among those that can still win."""
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
        return open_arms[int(np.argmax(bound))]

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
        probed: Mapping[Arm, int],
        results: Mapping[Arm, float],
        tried: set[tuple[Any, ...]],
        best: float,
    ) -> dict[str, Any] | None:
        """The best untried setting of a probed arm, or more samples where that may pay."""
        candidates: list[tuple[float, dict[str, Any]]] = []
        leading = sorted(probed, key=lambda arm: -results.get(arm, -math.inf))[:6]
        for arm in leading:
            forecast = self._arms.forecast(arm, min(probed[arm], 2 * MOST_PROBE_SAMPLES), best)
            for value, values in forecast.settings:
                if self._identity(values) not in tried and self._can_beat(values, best):
                    candidates.append((value, values))
                    break
            more = min(probed[arm] * 2, self._space.num_samples[1])
            if more > probed[arm] and forecast.settings:
                top = dict(forecast.settings[0][1], num_samples=more)
                step = self._arms.ratio(arm, more, top["num_features"]) - self._arms.ratio(
                    arm, probed[arm], top["num_features"]
                )
                hoped = forecast.value + _MORE_SAMPLES_BONUS - self._weight * step
                if self._identity(top) not in tried and self._can_beat(top, best):
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
