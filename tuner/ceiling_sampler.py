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

from explainers.lime import draw_rows
from explainers.lime_parameters import LimeParameters
from explainers.masks import MASK_RULE
from explainers.replay import FlatSetting, replay
from explainers.segmentation import Segmentation
from tuner.objective import score
from tuner.search_space import (
    ALL_FEATURES,
    CATEGORICAL_DIMENSIONS,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
)
from tuner.task import TuningTask

__all__ = ["CeilingSampler"]

_PROBE_SEEDS = 3
_PROBE_SAMPLES = (64, 192)  # least and most; in between, so many for each superpixel:
_PROBE_SAMPLES_PER_SUPERPIXEL = 5
# After the first probe seed, an arm whose most hopeful setting is this far behind is let be. The
# best of hundreds of settings on one seed is a flattering figure, so little is lost.
_LET_BE_BEHIND = 0.03
_START_UP = 8
_EXPLOIT_EVERY = 3
_SAMPLE_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)
_PROBES_PER_TRIAL = 3
_EXPLORATION = 1.0  # standard deviations added to the forecast of an arm
_MORE_SAMPLES_BONUS = 0.01  # IoU hoped for from doubling the samples of a good arm


@dataclass(frozen=True)
class _Arm:
    segmentation: Segmentation | None
    hide_color: str


@dataclass(frozen=True)
class _Forecast:
    """The best flat setting of a probed arm, by replay."""

    value: float
    settings: tuple[tuple[float, dict[str, Any]], ...]  # (forecast score, trial values)


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
        self._arms: list[_Arm] | None = None
        self._hopeless: set[_Arm] = set()
        self._forecasts: dict[tuple[_Arm, int], _Forecast] = {}

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
        probed: dict[_Arm, int] = {}
        possible = set(self._possible_arms())
        for each in earlier:
            arm = self._arm_of(each.params)
            if arm is not None and arm in possible:
                samples = min(int(each.params["num_samples"]), self._space.num_samples[1])
                probed[arm] = max(probed.get(arm, 0), samples, self._first_probe(arm))
        rng = np.random.default_rng([self._seed, trial.number])
        best = max(
            (t.value or 0.0 for t in earlier if t.state == TrialState.COMPLETE), default=-1.0
        )
        results = _results(earlier, self._arm_of)
        explore = len(probed) < _START_UP or trial.number % _EXPLOIT_EVERY != 0
        # An arm whose replay shows that it cannot win costs its probe, but no trial.
        for _ in range(_PROBES_PER_TRIAL if explore else 0):
            arm = self._next_arm(probed, results, best)
            if arm is not None:
                fresh = self._first_untried(
                    self._forecast(arm, self._first_probe(arm), best), tried, best
                )
                if fresh is not None:
                    return fresh
                probed[arm] = self._first_probe(arm)
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

    # Arms

    def _possible_arms(self) -> list[_Arm]:
        """Arms by falling ceiling; maps that no mask rule could use are left out."""
        if self._arms is None:
            arms = []
            seen: set[tuple[bytes, bytes]] = set()
            # Cheapest first: of two settings that give the same superpixels, that one is kept.
            for segmentation in sorted(
                self._space.segmentations(),
                key=lambda s: self._task.runtime(LimeParameters(segmentation=s)).segmentation,
            ):
                view = self._task.view(segmentation)
                same = (view.inside.tobytes(), view.outside.tobytes())
                if view.superpixels >= 2 and same not in seen:
                    seen.add(same)
                    arms += [_Arm(segmentation, color) for color in self._space.hide_color]
            arms.sort(key=lambda arm: -self._upper(arm))
            self._arms = arms
        return self._arms

    def _upper(self, arm: _Arm) -> float:
        """No explanation on this arm can score more."""
        return score(
            self._task.view(arm.segmentation).ceilings[-1], self._cheapest(arm), self._weight
        )

    def _cheapest(self, arm: _Arm) -> float:
        low = self._space.num_samples[0]
        return self._ratio(arm, low, ALL_FEATURES)

    def _arm_of(self, params: Mapping[str, Any]) -> _Arm | None:
        if "segmentation" not in params or "hide_color" not in params:
            return None
        algorithm = params["segmentation"]
        if algorithm == LIME_DEFAULT:
            return _Arm(None, params["hide_color"])
        prefix = f"{algorithm}."
        inner = tuple((n[len(prefix) :], v) for n, v in params.items() if n.startswith(prefix))
        return _Arm(Segmentation(algorithm, inner), params["hide_color"])

    def _next_arm(
        self,
        probed: Mapping[_Arm, int],
        results: Mapping[_Arm, float],
        best: float,
    ) -> _Arm | None:
        """The arm whose forecast plus uncertainty is highest, among those that can still win."""
        open_arms = [
            a
            for a in self._possible_arms()
            if a not in probed and a not in self._hopeless and self._upper(a) > best
        ]
        if not open_arms:
            return None
        if len(probed) < _START_UP or len(results) < 4:
            return self._diverse(open_arms, list(probed))
        known = [arm for arm in results if arm in probed]
        features = np.array([self._features(a) for a in [*known, *open_arms]])
        spread = features.std(axis=0)
        features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        targets = np.array([results[arm] for arm in known])
        mean, deviation = _gaussian_process(features[: len(known)], targets, features[len(known) :])
        bound = np.minimum(mean + _EXPLORATION * deviation, [self._upper(arm) for arm in open_arms])
        return open_arms[int(np.argmax(bound))]

    def _diverse(self, open_arms: Sequence[_Arm], probed: Sequence[_Arm]) -> _Arm:
        """Start-up: the highest ceiling among the kinds of arm probed least so far."""

        def kind(arm: _Arm) -> tuple[str, str]:
            algorithm = LIME_DEFAULT if arm.segmentation is None else arm.segmentation.algorithm
            return algorithm, arm.hide_color

        def seen(arm: _Arm) -> tuple[int, int]:
            algorithm, color = kind(arm)
            return (
                sum(kind(p)[1] == color for p in probed),
                sum(kind(p)[0] == algorithm for p in probed),
            )

        return min(open_arms, key=lambda arm: (*seen(arm), -self._upper(arm)))

    def _features(self, arm: _Arm) -> list[float]:
        view = self._task.view(arm.segmentation)
        algorithm = LIME_DEFAULT if arm.segmentation is None else arm.segmentation.algorithm
        return [
            view.ceilings[0],
            view.ceilings[min(2, len(view.ceilings) - 1)],
            1.5 * view.ceilings[-1],
            1.5 * math.log(view.superpixels),
            *(0.7 * (algorithm == name) for name in self._space.maps),
            *(1.0 * (arm.hide_color == name) for name in self._space.hide_color),
        ]

    # Flat settings

    def _first_probe(self, arm: _Arm) -> int:
        """Samples of an arm's first probe: more superpixels need more to be ranked."""
        low, high = self._space.num_samples
        least, most = _PROBE_SAMPLES
        wanted = _PROBE_SAMPLES_PER_SUPERPIXEL * self._task.view(arm.segmentation).superpixels
        step = next((s for s in _SAMPLE_STEPS if s >= min(max(wanted, least), most)), most)
        return min(max(step, low), high)

    def _forecast(self, arm: _Arm, samples: int, best: float) -> _Forecast:
        """Replay every flat setting of an arm, asking for the probe's answers if they are new."""
        key = (arm, samples)
        if key not in self._forecasts:
            self._forecasts[key] = self._replayed(arm, samples, best)
        return self._forecasts[key]

    def _replayed(self, arm: _Arm, samples: int, best: float) -> _Forecast:
        task, space = self._task, self._space
        view = task.view(arm.segmentation)
        segments = task.segments(arm.segmentation)
        label = int(np.argmax(task.bank.original(task.source, task.image, task.digest)))
        low, _ = space.num_samples
        steps = sorted({s for s in _SAMPLE_STEPS if low <= s < samples} | {samples})
        counts = [None if k == ALL_FEATURES else int(str(k)) for k in space.num_features]
        alphas = self._alphas()
        sums: dict[FlatSetting, list[float]] = {}
        for seed in range(_PROBE_SEEDS):
            state = np.random.RandomState(seed)
            if space.random_seed[0] is None:
                state.randint(0, high=1000)  # lime draws the segmentation's seed first
            rows = draw_rows(state, samples, view.superpixels)
            answers = task.bank.answers(
                task.source,
                task.image,
                segments,
                HIDE_COLORS[arm.hide_color],
                rows,
                np.array([label]),
                task.digest,
            )[:, 0]
            for setting, iou in replay(
                rows, answers, view.inside, view.outside, steps, counts,
                space.distance_metric, list(alphas.values()),
            ):  # fmt: skip
                sums.setdefault(setting, []).append(iou)
            hopeful = max((ious[0] for ious in sums.values()), default=0.0)
            if seed == 0 and hopeful - self._weight * self._cheapest(arm) < best - _LET_BE_BEHIND:
                break
        names = {alpha: name for name, alpha in reversed(alphas.items())}
        ranked = []
        told_apart: set[tuple[int, tuple[float, ...]]] = set()
        for setting, ious in sums.items():
            # Settings that chose the same masks are one setting; the first is the plainest.
            outcome = (setting.num_samples, tuple(ious))
            usable = min(MASK_RULE.num_features, setting.num_features or view.superpixels)
            if len(ious) <= seed or outcome in told_apart or view.superpixels < usable:
                continue
            if setting.num_features is None and view.superpixels < MASK_RULE.num_features:
                continue  # fewer superpixels than the mask can use: refused by the study
            told_apart.add(outcome)
            count = ALL_FEATURES if setting.num_features is None else setting.num_features
            ratio = self._ratio(arm, setting.num_samples, count)
            # Half a standard error off: of two settings alike, the steadier one.
            steady = float(np.mean(ious) - 0.5 * np.std(ious) / math.sqrt(len(ious)))
            values = self._values(arm, setting.num_samples, count)
            values["distance_metric"] = setting.distance_metric
            values["regressor"] = names[setting.alpha]
            ranked.append((score(steady, ratio, self._weight), values))
        ranked.sort(key=lambda pair: -pair[0])
        value = ranked[0][0] if ranked else -math.inf
        return _Forecast(value, tuple(ranked[:20]))

    def _alphas(self) -> dict[str, float]:
        """Regressors of the space that replay can work out."""
        alphas = {}
        for name in self._space.regressor:
            if name == LIME_DEFAULT:
                alphas[name] = 1.0
            elif name.startswith("Ridge(alpha="):
                alphas[name] = float(name[len("Ridge(alpha=") : -1])
            elif name == "LinearRegression":
                alphas[name] = 0.0
        return alphas or {self._space.regressor[0]: 1.0}

    def _values(self, arm: _Arm, samples: int, count: Any) -> dict[str, Any]:
        """Trial values of an arm; batch size and labels are the cheapest the space has."""
        space = self._space
        values: dict[str, Any] = {"hide_color": arm.hide_color}
        if arm.segmentation is None:
            values["segmentation"] = LIME_DEFAULT
        else:
            values["segmentation"] = arm.segmentation.algorithm
            for name, value in arm.segmentation.parameters:
                grid = space.maps[arm.segmentation.algorithm][name]
                values[f"{arm.segmentation.algorithm}.{name}"] = next(v for v in grid if v == value)
        values["num_features"] = count
        values["num_samples"] = samples
        values["distance_metric"] = space.distance_metric[0]
        values["regressor"] = space.regressor[0]
        values["top_labels"] = min(space.top_labels, key=lambda k: math.inf if k is None else k)
        values["batch_size"] = self._fastest_batch()
        return values

    def _fastest_batch(self) -> Any:
        def seconds(batch: Any) -> float:
            parameters = LimeParameters(batch_size=batch)
            return self._task.runtime_model.parts(parameters, 2, 1).prediction

        return min(self._space.batch_size, key=seconds)

    def _ratio(self, arm: _Arm, samples: int, count: Any) -> float:
        values = self._values(arm, samples, count)
        return self._task.runtime_ratio(self._space.parameters(values))

    # Choosing

    def _exploit(
        self,
        probed: Mapping[_Arm, int],
        results: Mapping[_Arm, float],
        tried: set[tuple[Any, ...]],
        best: float,
    ) -> dict[str, Any] | None:
        """The best untried setting of a probed arm, or more samples where that may pay."""
        candidates: list[tuple[float, dict[str, Any]]] = []
        leading = sorted(probed, key=lambda arm: -results.get(arm, -math.inf))[:6]
        for arm in leading:
            forecast = self._forecast(arm, min(probed[arm], 2 * _PROBE_SAMPLES[1]), best)
            for value, values in forecast.settings:
                if self._identity(values) not in tried and self._can_beat(values, best):
                    candidates.append((value, values))
                    break
            more = min(probed[arm] * 2, self._space.num_samples[1])
            if more > probed[arm] and forecast.settings:
                top = dict(forecast.settings[0][1], num_samples=more)
                step = self._ratio(arm, more, top["num_features"]) - self._ratio(
                    arm, probed[arm], top["num_features"]
                )
                hoped = forecast.value + _MORE_SAMPLES_BONUS - self._weight * step
                if self._identity(top) not in tried and self._can_beat(top, best):
                    candidates.append((hoped, top))
        if not candidates:
            return None
        return max(candidates, key=lambda pair: pair[0])[1]

    def _first_untried(
        self, forecast: _Forecast, tried: set[tuple[Any, ...]], best: float
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
        arms = self._possible_arms()
        if not arms:  # every map of the space is a single superpixel
            return {}
        arm = arms[int(rng.integers(len(arms)))]
        low, high = self._space.num_samples
        samples = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
        counts = self._space.num_features
        return self._values(arm, min(samples, high), counts[int(rng.integers(len(counts)))])

    @staticmethod
    def _identity(values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(sorted((name, str(value)) for name, value in values.items()))


def _results(trials: Sequence[FrozenTrial], arm_of: Any) -> dict[_Arm, float]:
    """Best measured score of each arm; pruned trials count with what they had."""
    results: dict[_Arm, float] = {}
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
