"""Candidates, each a superpixel map with a hide colour, and the forecasts from probing them.

A probe computes predictions for a candidate. All other parameters (number of features, surrogate,
distance, fewer samples) then cost only a fit, so every value of them is replayed on the probe.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from explainers.lime import FlatSetting, LimeParameters, Segmentation, draw_rows, replay
from studies.results.score import score
from tuner.problem import (
    ALL_FEATURES,
    FEW_SUPERPIXELS,
    HIDE_COLORS,
    LIME_DEFAULT,
    MapView,
    SearchSpace,
    SearchTask,
    TuningTask,
)
from tuner.samplers.forecasts import Forecast, hopeful_steps
from tuner.samplers.maps import MapSchedule

__all__ = ["Candidate", "Candidates"]

_PROBE_SEEDS, _PROBE_SEEDS_OF_FEW = 3, 6  # with few superpixels further seeds are free
# After these numbers of seeds, samples and metrics that are far behind are not replayed any more.
_NARROWED_AFTER, _FAR_BEHIND = (3, 8), 0.06
_LEAST_PROBE_SAMPLES, _MOST_PROBE_SAMPLES = 64, 192
_PROBE_SAMPLES_PER_SUPERPIXEL = 5
# After the first probe seed, a candidate whose best setting is this far behind is skipped. The best
# of hundreds of settings on one seed is biased upwards, so hardly any good candidate is lost.
_SKIPPED_BEHIND = 0.03
_SAMPLE_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)


@dataclass(frozen=True)
class Candidate:
    """A superpixel algorithm (``None``: lime's default) and the name of a hide colour."""

    segmentation: Segmentation | None
    hide_color: str

    @property
    def algorithm(self) -> str:
        """As the search space names it."""
        return LIME_DEFAULT if self.segmentation is None else self.segmentation.algorithm


class Candidates:
    """The candidates of one task and search space.

    Args:
        weight: the study's runtime weight.

    Attributes:
        best: the best score so far; set by the caller.
        sample_steps: numbers of samples that are replayed, beside the probe's own.
    """

    sample_steps: Sequence[int] = _SAMPLE_STEPS

    def __init__(self, task: SearchTask, space: SearchSpace, weight: float) -> None:
        self._task, self._space, self._weight = task, space, weight
        self._schedule = MapSchedule(task, space)
        self._possible: list[Candidate] = []
        self._seen: set[tuple[bytes, bytes]] = set()
        self._uppers: dict[Candidate, float] = {}
        self._forecasts: dict[tuple[Candidate, int, int], Forecast] = {}
        self._together: Sequence[Candidates] = (self,)
        self.best = -math.inf

    @staticmethod
    def join(members: Sequence[Candidates]) -> None:
        """Let searches with different runtime weights share their probes.

        A candidate is then skipped only if it is behind the ``best`` of every weight.
        """
        for each in members:
            each._together = tuple(members)

    def segment(self, seconds: float) -> None:
        """Compute superpixel maps until this many modelled seconds are spent in all."""
        while coming := self._schedule.coming(seconds):
            if self._task.threads > 1:
                self._task.expect([segmentation for _, segmentation in coming])
            algorithm, segmentation = coming[0]
            self._schedule.take(algorithm)
            view = self._task.view(segmentation)
            same = (view.inside.tobytes(), view.outside.tobytes())
            upper = -math.inf
            if view.superpixels >= 2 and same not in self._seen:
                self._seen.add(same)
                new = [Candidate(segmentation, color) for color in self._space.hide_color]
                upper = self.upper(new[0])
                self._possible += new
                self._possible.sort(key=lambda candidate: -self.upper(candidate))
            self._schedule.rate(algorithm, upper)

    def possible(self) -> list[Candidate]:
        """The candidates whose maps are computed, highest upper bound first; repeated maps and
        those of a single superpixel are left out."""
        return self._possible

    def view(self, candidate: Candidate) -> MapView:
        """The overlap of a candidate's superpixels with the reference."""
        return self._task.view(candidate.segmentation)

    def upper(self, candidate: Candidate) -> float:
        """The upper bound of the score of all settings of a candidate."""
        if candidate not in self._uppers:
            bound = self.view(candidate).upper_bounds[-1]
            cheapest = self._cheapest_ratio(candidate)
            self._uppers[candidate] = score(bound, cheapest, self._weight)
        return self._uppers[candidate]

    def bound(self, values: Mapping[str, Any]) -> float:
        """The upper bound of the score of a trial with these values."""
        parameters = self._space.parameters(values)
        bound = self._task.view(parameters.segmentation).upper_bound(parameters.num_features)
        return score(bound, self._task.runtime_ratio(parameters), self._weight)

    def ratio(self, candidate: Candidate, samples: int, count: Any) -> float:
        """Runtime of the setting that :meth:`values` gives, relative to lime's defaults."""
        values = self.values(candidate, samples, count)
        return self._task.runtime_ratio(self._space.parameters(values))

    def _cheapest_ratio(self, candidate: Candidate) -> float:
        return self.ratio(candidate, self._space.num_samples[0], ALL_FEATURES)

    # Trial values

    def of(self, values: Mapping[str, Any]) -> Candidate | None:
        """The candidate that a trial's values belong to; ``None`` if they name none."""
        if "segmentation" not in values or "hide_color" not in values:
            return None
        segmentation = self._space.segmentation(values)
        return Candidate(segmentation, values["hide_color"])

    def identity(self, candidate: Candidate) -> dict[str, Any]:
        """The trial values that identify a candidate; the inverse of :meth:`of`."""
        algorithm = candidate.algorithm
        named: dict[str, Any] = {"segmentation": algorithm, "hide_color": candidate.hide_color}
        if candidate.segmentation is not None:
            for name, value in candidate.segmentation.parameters:
                grid = self._space.maps[algorithm][name]
                named[f"{algorithm}.{name}"] = next(v for v in grid if v == value)
        return named

    def values(self, candidate: Candidate, samples: int, count: Any) -> dict[str, Any]:
        """Trial values of a candidate, with the cheapest batch size and labels of the space."""
        space = self._space
        return {
            **self.identity(candidate),
            "num_features": count,
            "num_samples": samples,
            "distance_metric": space.distance_metric[0],
            "regressor": space.regressor[0],
            "top_labels": min(k for k in space.top_labels if isinstance(k, int)),
            "batch_size": self._fastest_batch,
        }

    def flat_values(self, candidate: Candidate, setting: FlatSetting) -> dict[str, Any]:
        """Trial values of a candidate with a replayed setting."""
        values = self.values(candidate, setting.num_samples, setting.num_features or ALL_FEATURES)
        names = {alpha: name for name, alpha in reversed(self._alphas.items())}
        return {
            **values,
            "distance_metric": setting.distance_metric,
            "regressor": names[setting.alpha],
        }

    @cached_property
    def _fastest_batch(self) -> Any:
        def seconds(batch: Any) -> float:
            parameters = LimeParameters(batch_size=batch)
            return self._task.runtime_model.parts(parameters, 2, 1).prediction

        return min(self._space.batch_size, key=seconds)

    @cached_property
    def _alphas(self) -> dict[str, float]:
        """Ridge penalty by name of the regressors of the space that replay can compute."""
        alphas = {}
        for name in self._space.regressor:
            if name == LIME_DEFAULT:
                alphas[name] = 1.0
            elif name.startswith("Ridge(alpha="):
                alphas[name] = float(name[len("Ridge(alpha=") : -1])
            elif name == "LinearRegression":
                alphas[name] = 0.0
        return alphas or {self._space.regressor[0]: 1.0}

    # What is known before any prediction

    def features(self, candidate: Candidate) -> list[float]:
        """What a Gaussian process is told of a candidate; the proposer standardises it.

        Upper bounds of one, of three and of as many superpixels as a mask may have, the logarithm
        of their number, and 0 or 1 for each algorithm and colour.
        """
        view = self.view(candidate)
        bounds = view.upper_bounds
        return [
            bounds[0],
            bounds[min(2, len(bounds) - 1)],
            bounds[-1],
            math.log(view.superpixels),
            *(float(candidate.algorithm == name) for name in self._space.maps),
            *(float(candidate.hide_color == name) for name in self._space.hide_color),
        ]

    def first_probe(self, candidate: Candidate) -> int:
        """Number of samples of a first probe; more superpixels need more samples."""
        low, high = self._space.num_samples
        least, most = _LEAST_PROBE_SAMPLES, _MOST_PROBE_SAMPLES
        wanted = _PROBE_SAMPLES_PER_SUPERPIXEL * self.view(candidate).superpixels
        step = next((s for s in _SAMPLE_STEPS if s >= min(max(wanted, least), most)), most)
        return min(max(step, low), high)

    def probe_seeds(self, candidate: Candidate) -> int:
        """Number of explainer seeds of a probe; more where few patterns make them free."""
        few = self.view(candidate).superpixels <= FEW_SUPERPIXELS
        return _PROBE_SEEDS_OF_FEW if few else _PROBE_SEEDS

    def probe_answers(self, candidate: Candidate) -> int:
        """The most predictions that a probe needs; few superpixels have few patterns."""
        rows = self.first_probe(candidate) * self.probe_seeds(candidate)
        return min(rows, self.patterns(candidate))

    def patterns(self, candidate: Candidate) -> int:
        """Number of patterns of switched-off superpixels, at most a million."""
        return int(min(2 ** min(self.view(candidate).superpixels, 20), 10**6))

    # Probing

    def forecast(self, candidate: Candidate, samples: int, seeds: int, best: float) -> Forecast:
        """Replay every flat setting of a candidate; computes predictions that are not cached.

        Args:
            samples, seeds: size of the probe.
            best: score below which a candidate may be skipped after the first seed.
        """
        key = (candidate, samples, seeds)
        if key not in self._forecasts:
            self._probe(candidate, samples, seeds, best)
        return self._forecasts[key]

    def _probe(self, candidate: Candidate, samples: int, seeds: int, best: float) -> None:
        self.best = best
        ious = self._replayed(candidate, samples, seeds)
        for each in self._together:
            each._forecasts[candidate, samples, seeds] = each._ranked(candidate, ious)

    def _replayed(
        self, candidate: Candidate, samples: int, seeds: int
    ) -> dict[FlatSetting, list[float]]:
        """IoU on each seed, of the settings that were replayed on all seeds so far."""
        task = next(iter(self._task.tasks.values()))
        replayed: dict[FlatSetting, list[float]] = {}
        only: set[tuple[str, int]] | None = None
        for seed in range(seeds):
            for setting, iou in self.replayed_seed(task, candidate, samples, seed, only):
                replayed.setdefault(setting, []).append(iou)
            if seed == 0:
                hopeful = max((ious[0] for ious in replayed.values()), default=0.0)
                if all(each._is_behind(candidate, hopeful) for each in self._together):
                    break
            spent = seed + 1
            if spent in _NARROWED_AFTER:
                means = {s: sum(i) / spent for s, i in replayed.items() if len(i) == spent}
                only = hopeful_steps(means, _FAR_BEHIND)
        longest = max((len(ious) for ious in replayed.values()), default=0)
        return {setting: ious for setting, ious in replayed.items() if len(ious) == longest}

    def _is_behind(self, candidate: Candidate, iou: float) -> bool:
        best_here = score(iou, self._cheapest_ratio(candidate), self._weight)
        return best_here < self.best - _SKIPPED_BEHIND

    def replayed_seed(
        self,
        task: TuningTask,
        candidate: Candidate,
        samples: int,
        seed: int,
        only: Collection[tuple[str, int]] | None = None,
    ) -> Iterator[tuple[FlatSetting, float]]:
        """IoU of every flat setting on one image and explainer seed, from a probe.

        Computes predictions that are not cached.

        Args:
            only: pairs of metric and number of samples to replay; ``None`` for all.
        """
        space, view = self._space, task.view(candidate.segmentation)
        low, _ = space.num_samples
        steps = sorted({s for s in self.sample_steps if low <= s < samples} | {samples})
        counts = [None if k == ALL_FEATURES else int(str(k)) for k in space.num_features]
        state = np.random.RandomState(seed)
        if space.random_seed[0] is None:
            state.randint(0, high=1000)  # lime draws the segmentation's seed first
        rows = draw_rows(state, samples, view.superpixels)
        answers = task.cache.predictions(
            task.source,
            task.image,
            task.segments(candidate.segmentation),
            HIDE_COLORS[candidate.hide_color],
            rows,
            np.array([task.explained]),
            task.digest,
        )[:, 0]
        yield from replay(
            rows, answers, view.inside, view.outside, steps, counts, space.distance_metric,
            list(self._alphas.values()), only, task.mask_rule,
        )  # fmt: skip

    def _ranked(self, candidate: Candidate, ious: Mapping[FlatSetting, list[float]]) -> Forecast:
        table = np.array(list(ious.values()))  # (settings, seeds)
        if not table.size:
            return self._forecast_of(candidate, ())
        # Half a standard error less: of two settings with the same mean, the steadier one wins.
        steady = table.mean(axis=1) - 0.5 * table.std(axis=1) / math.sqrt(table.shape[1])
        masks = map(tuple, ious.values())
        return self._forecast_of(candidate, zip(ious, steady.tolist(), masks, strict=True))

    def _forecast_of(
        self, candidate: Candidate, settings: Iterable[tuple[FlatSetting, float, Hashable]]
    ) -> Forecast:
        """The forecast from replayed settings.

        Args:
            settings: each with its IoU, and a value that is equal for settings with equal masks.
        """
        superpixels, readable = self.view(candidate).superpixels, self._task.mask_rule.num_features
        ratios: dict[tuple[int, int | None], float] = {}
        scored, outcomes = [], set()
        for setting, iou, masks in settings:
            # Of settings with the same masks only the first, which is the plainest, is kept.
            outcome = (setting.num_samples, masks)
            if outcome in outcomes or superpixels < min(readable, setting.num_features or readable):
                continue  # the study refuses maps of fewer superpixels than the mask can use
            outcomes.add(outcome)
            asked = (setting.num_samples, setting.num_features)
            if asked not in ratios:
                ratios[asked] = self.ratio(candidate, asked[0], asked[1] or ALL_FEATURES)
            values = self.flat_values(candidate, setting)
            scored.append((score(iou, ratios[asked], self._weight), values))
        return Forecast.of(scored)
