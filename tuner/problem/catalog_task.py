"""The images of a catalogue as one task: a setting is scored on all of them together."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache, Segmentation
from explainers.masks import MaskRule
from tuner.problem.task import MapView, TuningTask
from tuner.runtime.model import RuntimeModel, RuntimeParts

__all__ = ["MEAN", "Aggregate", "CatalogTask"]

_QUANTILE = re.compile(r"q(\d{1,2})")


@dataclass(frozen=True)
class Aggregate:
    """How the values of several images become one.

    Attributes:
        quantile: in [0, 0.5]; ``None`` for the mean. A high lower quantile means that the setting
            is bad on few images only.
    """

    quantile: float | None = None

    @classmethod
    def parse(cls, text: str) -> Aggregate:
        """Read ``mean``, ``worst``, or a lower quantile in percent such as ``q25``.

        Raises:
            InvalidInput: the text is none of these.
        """
        if text == "mean":
            return MEAN
        if text == "worst":
            return cls(0.0)
        match = _QUANTILE.fullmatch(text)
        if match is None or int(match.group(1)) > 50:
            raise InvalidInput(f"--aggregate {text}: use mean, worst, or a quantile from q0 to q50")
        return cls(int(match.group(1)) / 100)

    @property
    def text(self) -> str:
        return "mean" if self.quantile is None else f"q{round(100 * self.quantile)}"

    def of(self, values: Collection[float]) -> float:
        """The aggregate; a quantile is interpolated linearly. ``nan`` without values."""
        found = np.array(list(values), dtype=np.float64)
        if not len(found):
            return math.nan
        if self.quantile is None:
            return float(found.mean())
        return float(np.quantile(found, self.quantile))


MEAN = Aggregate()


@dataclass(eq=False)
class CatalogTask:
    """The tasks of several images, which share one cache, runtime model and mask rule.

    Attributes:
        tasks: by key, in the order of the keys' digests. Settings are given up after the first few
            images, so the order must not depend on what these show.
        cache, runtime_model, mask_rule, threads: those of every image's task.
    """

    tasks: Mapping[str, TuningTask]
    aggregate: Aggregate = MEAN
    cache: PredictionCache = field(init=False)
    runtime_model: RuntimeModel = field(init=False)
    mask_rule: MaskRule = field(init=False)
    threads: int = field(init=False)
    _views: dict[Segmentation | None, MapView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InvalidInput("a catalogue without images cannot be tuned: check --images")
        shuffled = sorted(self.tasks, key=lambda key: hashlib.sha256(key.encode()).digest())
        self.tasks = {key: self.tasks[key] for key in shuffled}
        first = self.tasks[shuffled[0]]
        self.cache, self.runtime_model = first.cache, first.runtime_model
        self.mask_rule, self.threads = first.mask_rule, first.threads

    def expect(self, segmentations: Sequence[Segmentation | None]) -> None:
        """Start computing superpixel maps that will be needed soon, of every image."""
        for segmentation in segmentations:  # in the order in which they will be needed
            for task in self.tasks.values():
                task.expect([segmentation])

    @property
    def digest(self) -> str:
        """Hex sha256 over the images' keys, pixels and references."""
        digest = hashlib.sha256()
        for key, task in self.tasks.items():
            digest.update(f"{key} {task.digest} {task.reference.sha256}\n".encode())
        return digest.hexdigest()

    def among(self, keys: Collection[str]) -> CatalogTask:
        """The task with some of the images only."""
        return CatalogTask({k: t for k, t in self.tasks.items() if k in keys}, self.aggregate)

    def view(self, segmentation: Segmentation | None) -> MapView:
        """All images' superpixels in a row, their mean number, and the aggregated upper bounds.

        No setting with these maps can have a higher aggregate than the aggregated bounds.
        """
        found = self._views.get(segmentation)
        if found is None:
            views = [task.view(segmentation) for task in self.tasks.values()]
            bounds = zip(*(view.upper_bounds for view in views), strict=True)
            found = self._views[segmentation] = MapView(
                round(float(np.mean([view.superpixels for view in views]))),
                np.concatenate([view.inside for view in views]),
                np.concatenate([view.outside for view in views]),
                tuple(self.aggregate.of(each) for each in bounds),
            )
        return found

    def about(self, parameters: LimeParameters) -> LimeParameters:
        """The parameters for the likeliest class; each image's own task sets its class."""
        return parameters.about(None)

    def runtime(self, parameters: LimeParameters) -> RuntimeParts:
        """Modelled seconds of one explanation, mean over images."""
        parts = [task.runtime(parameters).as_dict() for task in self.tasks.values()]
        return RuntimeParts(**{name: float(np.mean([p[name] for p in parts])) for name in parts[0]})

    def runtime_ratio(self, parameters: LimeParameters) -> float:
        """Modelled seconds relative to lime's defaults on the same image, mean over images."""
        return float(np.mean([task.runtime_ratio(parameters) for task in self.tasks.values()]))
