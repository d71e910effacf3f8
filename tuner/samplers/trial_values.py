"""Candidates, each a superpixel map with a hide colour, as the values of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from explainers.lime import FlatSetting, LimeParameters, Segmentation
from tuner.problem import ALL_FEATURES, LIME_DEFAULT, SearchSpace, SearchTask

__all__ = ["Candidate", "TrialValues"]


@dataclass(frozen=True)
class Candidate:
    """A superpixel algorithm (``None``: lime's default) and the name of a hide colour."""

    segmentation: Segmentation | None
    hide_color: str

    @property
    def algorithm(self) -> str:
        """As the search space names it."""
        return LIME_DEFAULT if self.segmentation is None else self.segmentation.algorithm


class TrialValues:
    """Converts the candidates of one task and search space to values of trials, and back."""

    def __init__(self, task: SearchTask, space: SearchSpace) -> None:
        self._task, self._space = task, space

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
