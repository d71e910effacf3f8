"""Arms of a catalogue: a superpixel algorithm and a hide colour, probed on one image after another.

What a probe finds of one image says little of the next, so settings are ranked by all images
together, and by how their neighbours do: with a handful of images the best of a thousand settings
is mostly lucky, but luck does not come in neighbourhoods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.replay import FlatSetting
from tuner.objectives import score
from tuner.problem import ALL_FEATURES, BoundsStopping, CatalogTask, Rival, SearchSpace
from tuner.samplers.candidates import Arm, Arms, Forecast

__all__ = ["BestSoFar", "CatalogArms", "Steps", "paired"]

_LEAST_IMAGES = 5  # before an arm may be given up
_NARROWED_AFTER, _FAR_BEHIND = (2, 5, 10), 0.08
_LEAST_KNOWN = 0.8  # share of the images on which a setting must have a forecast
_OWN_WEIGHT = 0.5  # of a setting; the rest is its neighbours'
_KEPT_SETTINGS = 20
_FEW_SAMPLES, _MOST_PROBE_SAMPLES = 64, 96


@dataclass(frozen=True)
class BestSoFar:
    """The best trial: its score, and what it gave image by image (IoU minus the price)."""

    score: float
    per_image: Mapping[str, float] = field(default_factory=dict)


def paired(values: Mapping[str, Sequence[float]], best: Mapping[str, float]) -> list[float] | None:
    """Values as they would be if images were as easy as all of them are on average for the best.

    Images differ far more than settings do, so settings are compared image by image: each value
    becomes the best one's mean plus the difference to it on the same image. ``None`` where the
    best was not scored on one of them.
    """
    if not best or any(key not in best for key in values):
        return None
    mean = sum(best.values()) / len(best)
    return [mean + v - best[key] for key, some in values.items() for v in some]


class CatalogArms(Arms):
    """The arms of a catalogue's task.

    Attributes:
        leader: what arms are compared to; set before a proposal.
    """

    sample_steps = (16, 32, 64, 96)

    def __init__(self, task: CatalogTask, space: SearchSpace, weight: float) -> None:
        super().__init__(task, space, weight)
        self._catalog = task
        self._stopping = BoundsStopping()
        self.leader: BestSoFar | None = None

    def first_probe(self, arm: Arm) -> int:
        """Samples of a probe; cheaper than one image's, because there are many images."""
        low, high = self._space.num_samples
        wanted = 3 * self._task.view(arm.segmentation).superpixels
        return min(max(min(max(wanted, _FEW_SAMPLES), _MOST_PROBE_SAMPLES), low), high)

    def probe_seeds(self, arm: Arm) -> int:
        """One an image: luck of seeds evens out over images."""
        return 1

    def forecast(self, arm: Arm, samples: int, seeds: int, best: float) -> Forecast:
        """Replay every flat setting of an arm on all images; see :class:`Arms`."""
        key = (arm, samples, seeds)
        if key not in self._forecasts:
            self._forecasts[key] = self._probed(arm, samples, seeds, best)
        return self._forecasts[key]

    def _probed(self, arm: Arm, samples: int, seeds: int, best: float) -> Forecast:
        found: dict[FlatSetting, NDArray[np.float64]] = {}
        tasks = self._catalog.tasks
        only: set[tuple[str, int]] | None = None
        for number, task in enumerate(tasks.values()):
            for seed in range(seeds):
                for setting, iou in self.replayed_seed(task, arm, samples, seed, only):
                    known = found.get(setting)
                    if known is None:
                        known = found[setting] = np.full((len(tasks), seeds), np.nan)
                    known[number, seed] = iou
            if number + 1 >= _LEAST_IMAGES and number + 1 < len(tasks):
                foretold = self._hopeless(arm, found, number + 1, best)
                if foretold is not None:
                    return Forecast(foretold, ())
            if number + 1 in _NARROWED_AFTER:
                only = _hopeful_steps(found, number + 1)
        return self._settled(arm, found)

    def on_every_image(
        self, arm: Arm, samples: int
    ) -> dict[FlatSetting, NDArray[np.float64]]:
        """(images,) IoU of each flat setting on the first seed; asks for what is not banked."""
        tasks = self._catalog.images
        found: dict[FlatSetting, NDArray[np.float64]] = {}
        for number, task in enumerate(tasks):
            for setting, iou in self.replayed_seed(task, arm, samples, 0):
                known = found.setdefault(setting, np.full((len(tasks), 1), np.nan))
                known[number, 0] = iou
        return _means(found, len(tasks))

    def trial_of(self, arm: Arm, setting: FlatSetting) -> dict[str, Any]:
        """A trial's values."""
        names = {alpha: name for name, alpha in reversed(self._alphas().items())}
        count = ALL_FEATURES if setting.num_features is None else setting.num_features
        values = self.values(arm, setting.num_samples, count)
        values["distance_metric"] = setting.distance_metric
        values["regressor"] = names[setting.alpha]
        return values

    def _hopeless(
        self, arm: Arm, found: Mapping[FlatSetting, NDArray[np.float64]], images: int, best: float
    ) -> float | None:
        """What an arm comes to that cannot win any more after some images; ``None`` if it can.

        The most hopeful setting is judged by the rule that stops trials, and by the ceilings of
        the images that are left.
        """
        means = _means(found, images)
        if not means:
            return None
        setting = max(means, key=lambda s: float(np.mean(means[s])))
        count = ALL_FEATURES if setting.num_features is None else setting.num_features
        price = self._weight * self.ratio(arm, setting.num_samples, count)
        keys = list(self._catalog.tasks)
        left = [
            self._catalog.tasks[key].view(arm.segmentation).ceilings[-1] for key in keys[images:]
        ]
        known = [float(v) for v in means[setting]]
        if self._catalog.aggregate.of([*known, *left]) - price <= best:
            return self._catalog.aggregate.of(known) - price
        if self.leader is None:
            return None
        values = {key: [v - price] for key, v in zip(keys, known, strict=False)}
        moved = paired(values, self.leader.per_image)
        if moved is None or self._catalog.aggregate.quantile is not None:
            return None
        if self._stopping.after_seeds(moved, 0.0, Rival(self.leader.score)):
            return float(np.mean(moved))
        return None

    def _settled(self, arm: Arm, found: Mapping[FlatSetting, NDArray[np.float64]]) -> Forecast:
        """Settings by falling score, each drawn half way to its neighbours."""
        images = len(self._catalog.tasks)
        values = {s: self._catalog.aggregate.of(v) for s, v in _means(found, images).items()}
        if not values:
            return Forecast(-math.inf, ())
        ranked: list[tuple[float, dict[str, Any]]] = []
        told_apart: set[tuple[int, float]] = set()
        steps = Steps(values)
        ratios: dict[tuple[int, Any], float] = {}
        for setting, value in values.items():
            near = [values[n] for n in steps.neighbours(setting) if n in values]
            shrunk = (
                value
                if not near
                else _OWN_WEIGHT * value + (1 - _OWN_WEIGHT) * float(np.mean(near))
            )
            outcome = (setting.num_samples, round(shrunk, 9))
            usable = min(self._task.mask_rule.num_features, setting.num_features or math.inf)
            if outcome in told_apart or self._task.view(arm.segmentation).superpixels < usable:
                continue  # fewer superpixels than the mask can use are refused by the study
            told_apart.add(outcome)
            count = ALL_FEATURES if setting.num_features is None else setting.num_features
            trial = self.trial_of(arm, setting)
            asked = (setting.num_samples, count)
            if asked not in ratios:
                ratios[asked] = self.ratio(arm, *asked)
            ratio = ratios[asked]
            ranked.append((score(shrunk, ratio, self._weight), trial))
        if not ranked:
            return Forecast(-math.inf, ())
        ranked.sort(key=lambda pair: -pair[0])
        most = max(trial["num_samples"] for _, trial in ranked)
        fewer = [value for value, trial in ranked if trial["num_samples"] <= most / 2]
        trend = max(0.0, ranked[0][0] - fewer[0]) if fewer else 0.0
        return Forecast(ranked[0][0], tuple(ranked[:_KEPT_SETTINGS]), trend)


class Steps:
    """Which settings are neighbours: one step apart in one dimension.

    Args:
        settings: all that there are.
    """

    def __init__(self, settings: Mapping[FlatSetting, float]) -> None:
        self._samples = sorted({s.num_samples for s in settings})
        self._features = sorted({s.num_features or math.inf for s in settings})
        self._metrics = sorted({s.distance_metric for s in settings})
        self._alphas = sorted({s.alpha for s in settings})

    def neighbours(self, setting: FlatSetting) -> list[FlatSetting]:
        """Of one setting; some may not exist."""
        found = [
            FlatSetting(n, setting.num_features, setting.distance_metric, setting.alpha)
            for n in _beside(self._samples, setting.num_samples)
        ]
        found += [
            FlatSetting(
                setting.num_samples,
                None if n == math.inf else int(n),
                setting.distance_metric,
                setting.alpha,
            )
            for n in _beside(self._features, setting.num_features or math.inf)
        ]
        found += [
            FlatSetting(setting.num_samples, setting.num_features, n, setting.alpha)
            for n in self._metrics
            if n != setting.distance_metric
        ]
        found += [
            FlatSetting(setting.num_samples, setting.num_features, setting.distance_metric, n)
            for n in _beside(self._alphas, setting.alpha)
        ]
        return found


def _beside(values: Sequence[Any], value: Any) -> list[Any]:
    at = values.index(value)
    return [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]


def _means(
    found: Mapping[FlatSetting, NDArray[np.float64]], images: int
) -> dict[FlatSetting, NDArray[np.float64]]:
    """Mean IoU on each of the first images; of settings that have one on nearly all of them.

    Where replay leaves a setting to lime's own code, its mean on the other images stands in.
    """
    means = {}
    for setting, ious in found.items():
        some = ious[:images]
        known = np.isfinite(some)
        per_image = known.any(axis=1)
        if per_image.sum() < max(1, math.ceil(_LEAST_KNOWN * images)):
            continue
        filled = np.where(known, some, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        means[setting] = np.where(per_image, filled, filled[per_image].mean())
    return means


def _hopeful_steps(
    found: Mapping[FlatSetting, NDArray[np.float64]], images: int
) -> set[tuple[str, int]]:
    """Metrics and numbers of samples with a setting not far behind the best."""
    tops: dict[tuple[str, int], float] = {}
    for setting, values in _means(found, images).items():
        key = (setting.distance_metric, setting.num_samples)
        tops[key] = max(tops.get(key, 0.0), float(values.mean()))
    best = max(tops.values(), default=0.0)
    return {key for key, top in tops.items() if top >= best - _FAR_BEHIND}
