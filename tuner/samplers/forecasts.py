"""Forecasts from replaying a candidate's probe with its flat settings, which need only a fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from explainers.lime import FlatSetting

__all__ = ["Forecast", "Neighbourhood", "hopeful_steps", "smoothed"]

_Value = TypeVar("_Value", float, NDArray[np.float64])

_KEPT_SETTINGS = 20
_OWN_WEIGHT = 0.5  # of a setting's own value; its neighbours' mean has the rest


@dataclass(frozen=True)
class Forecast:
    """The forecast of a candidate's score.

    Attributes:
        value: score of the best setting; minus infinity when there is none.
        settings: (score, trial values) of the best settings, best first.
        trend: by how much the last doubling of the samples raised the best score; not below 0.
    """

    value: float = -math.inf
    settings: tuple[tuple[float, dict[str, Any]], ...] = ()
    trend: float = 0.0

    @classmethod
    def of(cls, scored: Iterable[tuple[float, dict[str, Any]]]) -> Forecast:
        """Make a forecast of (score, trial values); of equal scores the first comes first."""
        ranked = sorted(scored, key=lambda pair: -pair[0])
        if not ranked:
            return cls()
        most = max(values["num_samples"] for _, values in ranked)
        fewer = [value for value, values in ranked if values["num_samples"] <= most / 2]
        trend = max(0.0, ranked[0][0] - fewer[0]) if fewer else 0.0
        return cls(ranked[0][0], tuple(ranked[:_KEPT_SETTINGS]), trend)


def hopeful_steps(means: Mapping[FlatSetting, float], behind: float) -> set[tuple[str, int]]:
    """Pairs of metric and number of samples with a setting near the best.

    Args:
        means: mean IoU of each setting so far.
        behind: largest distance to the best IoU.
    """
    tops: dict[tuple[str, int], float] = {}
    for setting, mean in means.items():
        key = (setting.distance_metric, setting.num_samples)
        tops[key] = max(tops.get(key, 0.0), mean)
    best = max(tops.values(), default=0.0)
    return {key for key, top in tops.items() if top >= best - behind}


class Neighbourhood:
    """Finds neighbours of settings, which are one step apart in one dimension.

    Args:
        settings: all settings, whose values form the axes.
    """

    def __init__(self, settings: Iterable[FlatSetting]) -> None:
        names = ("num_samples", "num_features", "distance_metric", "alpha")
        kept = list(settings)
        self._axes = {
            name: sorted(
                {getattr(setting, name) for setting in kept},
                key=lambda value: math.inf if value is None else value,
            )
            for name in names
        }

    def of(self, setting: FlatSetting) -> list[FlatSetting]:
        """The neighbours of a setting; some may not be among the settings."""
        return [
            replace(setting, **{name: value})
            for name, axis in self._axes.items()
            for value in _beside(axis, getattr(setting, name), any_other=name == "distance_metric")
        ]


def _beside(axis: Sequence[Any], value: Any, *, any_other: bool) -> list[Any]:
    if any_other:  # metrics have no order
        return [other for other in axis if other != value]
    at = axis.index(value)
    return [axis[i] for i in (at - 1, at + 1) if 0 <= i < len(axis)]


def smoothed(values: Mapping[FlatSetting, _Value]) -> dict[FlatSetting, _Value]:
    """Values of settings (numbers or arrays of one shape), each averaged with its neighbours' mean.

    On few images the best of a thousand settings is best mostly by chance, which its neighbours do
    not share.
    """
    neighbourhood = Neighbourhood(values)
    drawn = {}
    for setting, value in values.items():
        near = [values[other] for other in neighbourhood.of(setting) if other in values]
        if near:
            value = _OWN_WEIGHT * value + (1 - _OWN_WEIGHT) * np.mean(near, axis=0)
        drawn[setting] = value
    return drawn
