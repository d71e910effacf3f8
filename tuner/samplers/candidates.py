"""Arms: superpixel maps with a colour to hide behind, and what probing them foretells.

Everything that is not part of an arm (number of features, surrogate, distance, fewer samples)
costs only a fit once the arm has answers, so one probe settles it by replaying all of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainers.lime import draw_rows
from explainers.lime_parameters import LimeParameters
from explainers.replay import FlatSetting, replay
from explainers.segmentation import Segmentation
from tuner.objectives import score
from tuner.problem import (
    ALL_FEATURES,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
    SearchTask,
    TuningTask,
)

__all__ = ["FEW_SUPERPIXELS", "Arm", "Arms", "Forecast"]

_GOLDEN = (math.sqrt(5) - 1) / 2
# An algorithm whose best ceiling is this far below another's gets a third of its time.
_SHARE_FALLS_BY, _LEAST_SHARE = 0.05, 0.1
_PROBE_SEEDS = 3
# So few superpixels have 256 patterns at most: once they are asked, every seed is free.
FEW_SUPERPIXELS, _PROBE_SEEDS_OF_FEW = 8, 6
# After so many seeds, samples and metrics that are far behind are not replayed any further.
_NARROWED_AFTER, _FAR_BEHIND = (3, 8), 0.06
LEAST_PROBE_SAMPLES, MOST_PROBE_SAMPLES = 64, 192
_PROBE_SAMPLES_PER_SUPERPIXEL = 5
# After the first probe seed, an arm whose most hopeful setting is this far behind is let be. The
# best of hundreds of settings on one seed is a flattering figure, so little is lost.
_LET_BE_BEHIND = 0.03
_SAMPLE_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)
_KEPT_SETTINGS = 20


@dataclass(frozen=True)
class Arm:
    """A superpixel algorithm (``None``: lime's default) and the name of a hide colour."""

    segmentation: Segmentation | None
    hide_color: str


@dataclass(frozen=True)
class Forecast:
    """What replaying a probe foretells.

    Attributes:
        value: score of the best setting; minus infinity when there is none.
        settings: (score, trial values) of the best settings, best first.
        trend: what the last doubling of the samples brought.
    """

    value: float
    settings: tuple[tuple[float, dict[str, Any]], ...]
    trend: float = 0.0


class Arms:
    """The arms of one task and search space.

    Args:
        weight: the study's runtime weight.

    Attributes:
        best: the best score so far, as far as it was told.
        sample_steps: numbers of samples that are replayed, beside those that were asked.
    """

    sample_steps: Sequence[int] = _SAMPLE_STEPS

    def __init__(self, task: SearchTask, space: SearchSpace, weight: float) -> None:
        self._task = task
        self._space = space
        self._weight = weight
        self._pixels = task.images[0].image.shape[0] * task.images[0].image.shape[1]
        self._possible: list[Arm] = []
        self._seen: set[tuple[bytes, bytes]] = set()
        self._priced: dict[Segmentation | None, float] = {}
        self._waiting = self._in_order()
        self._spent = dict.fromkeys(self._waiting, 0.0)
        self._promise: dict[str, float] = {}
        self._uppers: dict[Arm, float] = {}
        self._forecasts: dict[tuple[Arm, int, int], Forecast] = {}
        self._together: Sequence[Arms] = (self,)
        self.best = -math.inf

    @staticmethod
    def join(members: Sequence[Arms]) -> None:
        """Let arms of different weights learn from each other's probes.

        An arm is then let be only where it is behind the ``best`` of every weight.
        """
        for each in members:
            each._together = tuple(members)

    def look_at(self, seconds: float) -> None:
        """Segment the image until so many seconds, by the runtime model, have been spent.

        Every algorithm has its first map looked at; then each is given time by how high its
        ceilings are, its maps spread over its grid. So the first trials see a coarse choice of
        maps and later ones all of it, and a resumed study sees the same.
        """
        while coming := self._coming(seconds):
            if self._task.threads > 1:
                self._task.expect([segmentation for _, segmentation in coming])
            algorithm, segmentation = coming[0]
            self._waiting[algorithm].pop(0)
            self._spent[algorithm] += self._seconds(segmentation)
            view = self._task.view(segmentation)
            same = (view.inside.tobytes(), view.outside.tobytes())
            upper = -math.inf
            if view.superpixels >= 2 and same not in self._seen:
                self._seen.add(same)
                arms = [Arm(segmentation, color) for color in self._space.hide_color]
                upper = self.upper(arms[0])
                self._possible += arms
                self._possible.sort(key=lambda arm: -self.upper(arm))
            self._promise[algorithm] = max(upper, self._promise.get(algorithm, -math.inf))

    def _coming(self, seconds: float) -> list[tuple[str, Segmentation | None]]:
        """Whose map is looked at next, and who follows if no promise changes: one for a thread.

        Empty when the seconds are spent or all maps looked at.
        """
        leader = max(self._promise.values(), default=0.0)
        spent, taken = dict(self._spent), dict.fromkeys(self._waiting, 0)

        def due(algorithm: str) -> float:
            promise = self._promise.get(algorithm)
            if promise is None:
                return math.inf if taken[algorithm] else -1.0
            share = max(_LEAST_SHARE, math.exp((promise - leader) / _SHARE_FALLS_BY))
            following = self._waiting[algorithm][taken[algorithm]]
            return (spent[algorithm] + self._seconds(following)) / share

        found: list[tuple[str, Segmentation | None]] = []
        while len(found) < self._task.threads and sum(spent.values()) < seconds:
            left = [name for name, maps in self._waiting.items() if taken[name] < len(maps)]
            if not left:
                break
            algorithm = min(left, key=due)
            following = self._waiting[algorithm][taken[algorithm]]
            found.append((algorithm, following))
            taken[algorithm] += 1
            spent[algorithm] += self._seconds(following)
        return found

    def possible(self) -> list[Arm]:
        """Arms looked at, by falling ceiling; maps that no mask rule could use are left out."""
        return self._possible

    def _seconds(self, segmentation: Segmentation | None) -> float:
        if segmentation not in self._priced:
            parameters = LimeParameters(segmentation=segmentation)
            # Superpixels do not matter here, and asking for them would compute them.
            parts = self._task.runtime_model.parts(parameters, 1, self._pixels)
            self._priced[segmentation] = parts.segmentation
        return self._priced[segmentation]

    def _in_order(self) -> dict[str, list[Segmentation | None]]:
        """By algorithm, coarse to fine."""
        by_algorithm: dict[str, list[Segmentation | None]] = {}
        for segmentation in self._space.segmentations():
            name = LIME_DEFAULT if segmentation is None else segmentation.algorithm
            by_algorithm.setdefault(name, []).append(segmentation)
        return {
            # Multiples of the golden ratio fill any grid evenly, whatever its size.
            name: [members[i] for i in sorted(range(len(members)), key=lambda i: (i * _GOLDEN) % 1)]
            for name, members in by_algorithm.items()
        }

    def upper(self, arm: Arm) -> float:
        """No explanation on this arm can score more."""
        if arm not in self._uppers:
            ceiling = self._task.view(arm.segmentation).ceilings[-1]
            self._uppers[arm] = score(ceiling, self._cheapest_ratio(arm), self._weight)
        return self._uppers[arm]

    def _cheapest_ratio(self, arm: Arm) -> float:
        low = self._space.num_samples[0]
        return self.ratio(arm, low, ALL_FEATURES)

    def of(self, params: Mapping[str, Any]) -> Arm | None:
        """The arm that a trial's values belong to."""
        if "segmentation" not in params or "hide_color" not in params:
            return None
        algorithm = params["segmentation"]
        if algorithm == LIME_DEFAULT:
            return Arm(None, params["hide_color"])
        prefix = f"{algorithm}."
        inner = tuple((n[len(prefix) :], v) for n, v in params.items() if n.startswith(prefix))
        return Arm(Segmentation(algorithm, inner), params["hide_color"])

    def identity(self, arm: Arm) -> dict[str, Any]:
        """The values that :meth:`of` knows an arm by."""
        named: dict[str, Any] = {"segmentation": LIME_DEFAULT, "hide_color": arm.hide_color}
        if arm.segmentation is not None:
            algorithm = named["segmentation"] = arm.segmentation.algorithm
            for name, value in arm.segmentation.parameters:
                grid = self._space.maps[algorithm][name]
                named[f"{algorithm}.{name}"] = next(v for v in grid if v == value)
        return named

    def features(self, arm: Arm) -> list[float]:
        """What is known of an arm before any answer, scaled by how much it should matter."""
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

    def first_probe(self, arm: Arm) -> int:
        """Samples of an arm's first probe: more superpixels need more to be ranked."""
        low, high = self._space.num_samples
        least, most = LEAST_PROBE_SAMPLES, MOST_PROBE_SAMPLES
        wanted = _PROBE_SAMPLES_PER_SUPERPIXEL * self._task.view(arm.segmentation).superpixels
        step = next((s for s in _SAMPLE_STEPS if s >= min(max(wanted, least), most)), most)
        return min(max(step, low), high)

    def probe_seeds(self, arm: Arm) -> int:
        """Explainer seeds of a probe; many where so few patterns exist that they cost nothing."""
        few = self._task.view(arm.segmentation).superpixels <= FEW_SUPERPIXELS
        return _PROBE_SEEDS_OF_FEW if few else _PROBE_SEEDS

    def probe_answers(self, arm: Arm) -> int:
        """How many answers a probe asks for at most: few superpixels have few patterns."""
        return min(self.first_probe(arm) * self.probe_seeds(arm), self.patterns(arm))

    def patterns(self, arm: Arm) -> int:
        """How many patterns of switched-off superpixels there are; a million stands for more."""
        superpixels = self._task.view(arm.segmentation).superpixels
        return int(min(2 ** min(superpixels, 20), 10**6))

    def forecast(self, arm: Arm, samples: int, seeds: int, best: float) -> Forecast:
        """Replay every flat setting of an arm, asking for the probe's answers if they are new.

        Args:
            best: score below which an arm may be let be after the first seed.
        """
        key = (arm, samples, seeds)
        if key not in self._forecasts:
            self.best = best
            found = self._replayed(arm, samples, seeds)
            for each in self._together:
                each._forecasts[key] = each._ranked(arm, found)
        return self._forecasts[key]

    def _behind(self, arm: Arm, iou: float) -> bool:
        return iou - self._weight * self._cheapest_ratio(arm) < self.best - _LET_BE_BEHIND

    def _replayed(
        self, arm: Arm, samples: int, seeds: int
    ) -> dict[FlatSetting, list[float]]:
        """IoU on each seed of the settings that stayed hopeful."""
        task = self._task.images[0]
        found: dict[FlatSetting, list[float]] = {}
        only: set[tuple[str, int]] | None = None
        for seed in range(seeds):
            for setting, iou in self.replayed_seed(task, arm, samples, seed, only):
                found.setdefault(setting, []).append(iou)
            if seed == 0:
                hopeful = max((ious[0] for ious in found.values()), default=0.0)
                if all(each._behind(arm, hopeful) for each in self._together):
                    break
            if seed + 1 in _NARROWED_AFTER:
                only = _hopeful_steps(found, seed + 1)
        longest = max((len(ious) for ious in found.values()), default=0)
        return {setting: ious for setting, ious in found.items() if len(ious) == longest}

    def replayed_seed(
        self,
        task: TuningTask,
        arm: Arm,
        samples: int,
        seed: int,
        only: Collection[tuple[str, int]] | None = None,
    ) -> Iterator[tuple[FlatSetting, float]]:
        """IoU of every flat setting on one image and explainer seed; new answers are asked for.

        Args:
            only: pairs of metric and number of samples to look at; all when ``None``.
        """
        space, view = self._space, task.view(arm.segmentation)
        low, _ = space.num_samples
        steps = sorted({s for s in self.sample_steps if low <= s < samples} | {samples})
        counts = [None if k == ALL_FEATURES else int(str(k)) for k in space.num_features]
        state = np.random.RandomState(seed)
        if space.random_seed[0] is None:
            state.randint(0, high=1000)  # lime draws the segmentation's seed first
        rows = draw_rows(state, samples, view.superpixels)
        answers = task.bank.answers(
            task.source,
            task.image,
            task.segments(arm.segmentation),
            HIDE_COLORS[arm.hide_color],
            rows,
            np.array([task.explained]),
            task.digest,
        )[:, 0]
        yield from replay(
            rows, answers, view.inside, view.outside, steps, counts, space.distance_metric,
            list(self._alphas().values()), only, task.mask_rule,
        )  # fmt: skip

    def _ranked(self, arm: Arm, found: Mapping[FlatSetting, list[float]]) -> Forecast:
        """Settings by falling score."""
        superpixels = self._task.view(arm.segmentation).superpixels
        names = {alpha: name for name, alpha in reversed(self._alphas().items())}
        ranked = []
        told_apart: set[tuple[int, tuple[float, ...]]] = set()
        for setting, ious in found.items():
            # Settings that chose the same masks are one setting; the first is the plainest.
            outcome = (setting.num_samples, tuple(ious))
            readable = self._task.mask_rule.num_features
            usable = min(readable, setting.num_features or readable)
            if outcome in told_apart or superpixels < usable:
                continue  # fewer superpixels than the mask can use are refused by the study
            told_apart.add(outcome)
            count = ALL_FEATURES if setting.num_features is None else setting.num_features
            ratio = self.ratio(arm, setting.num_samples, count)
            # Half a standard error off: of two settings alike, the steadier one.
            steady = float(np.mean(ious) - 0.5 * np.std(ious) / math.sqrt(len(ious)))
            values = self.values(arm, setting.num_samples, count)
            values["distance_metric"] = setting.distance_metric
            values["regressor"] = names[setting.alpha]
            ranked.append((score(steady, ratio, self._weight), values))
        ranked.sort(key=lambda pair: -pair[0])
        if not ranked:
            return Forecast(-math.inf, ())
        most = max(values["num_samples"] for _, values in ranked)
        fewer = [value for value, values in ranked if values["num_samples"] <= most / 2]
        trend = max(0.0, ranked[0][0] - fewer[0]) if fewer else 0.0
        return Forecast(ranked[0][0], tuple(ranked[:_KEPT_SETTINGS]), trend)

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

    def values(self, arm: Arm, samples: int, count: Any) -> dict[str, Any]:
        """Trial values of an arm; batch size and labels are the cheapest the space has."""
        space = self._space
        values = self.identity(arm)
        values["num_features"] = count
        values["num_samples"] = samples
        values["distance_metric"] = space.distance_metric[0]
        values["regressor"] = space.regressor[0]
        values["top_labels"] = min(k for k in space.top_labels if isinstance(k, int))
        values["batch_size"] = self._fastest_batch()
        return values

    def _fastest_batch(self) -> Any:
        def seconds(batch: Any) -> float:
            parameters = LimeParameters(batch_size=batch)
            return self._task.runtime_model.parts(parameters, 2, 1).prediction

        return min(self._space.batch_size, key=seconds)

    def ratio(self, arm: Arm, samples: int, count: Any) -> float:
        """Runtime of a plain setting on an arm, relative to lime's defaults."""
        values = self.values(arm, samples, count)
        return self._task.runtime_ratio(self._space.parameters(values))


def _hopeful_steps(found: Mapping[FlatSetting, list[float]], seeds: int) -> set[tuple[str, int]]:
    """Metrics and numbers of samples with a setting not far behind the best."""
    tops: dict[tuple[str, int], float] = {}
    for setting, ious in found.items():
        if len(ious) == seeds:
            key = (setting.distance_metric, setting.num_samples)
            tops[key] = max(tops.get(key, 0.0), sum(ious) / seeds)
    best = max(tops.values(), default=0.0)
    return {key for key, top in tops.items() if top >= best - _FAR_BEHIND}
