"""The task of one image: everything that trials of its study need, and their modelled cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.images import array_digest
from explainers.lime import (
    LimeParameters,
    PredictionCache,
    Predictor,
    Segmentation,
    explain,
    explained_label,
    lime_algorithm,
    segment,
    top_label,
)
from explainers.masks import MASK_RULE, MaskRule, selected_superpixels
from explainers.references import overlap_counts, reachable_iou
from tuner.problem.faithfulness import FaithfulnessMeter
from tuner.runtime.model import RuntimeModel, RuntimeParts

if TYPE_CHECKING:
    from lime.lime_image import ImageExplanation

    from explainers.metrics import Faithfulness
    from explainers.references import Reference  # imports torch, which the search space does not

__all__ = ["FEW_SUPERPIXELS", "MapView", "SearchTask", "TuningTask"]

FEW_SUPERPIXELS = 8
"""Up to this number there are 256 patterns at most; once these are cached, more seeds are free."""


@dataclass(frozen=True, eq=False)
class MapView:
    """The overlap of a superpixel map with the reference.

    Attributes:
        superpixels: their number; over a catalogue the rounded mean.
        inside, outside: (n,) number of pixels of each superpixel inside and outside the reference.
        upper_bounds: best reachable IoU with at most 1, 2, ... superpixels.
    """

    superpixels: int
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    upper_bounds: tuple[float, ...]

    def upper_bound(self, num_features: int) -> float:
        """The best IoU that any explanation with that many features can have."""
        return self.upper_bounds[min(num_features, len(self.upper_bounds)) - 1]


class SearchTask(Protocol):
    """The task of one image or of a catalogue, as a search uses it.

    Attributes:
        tasks: the task of each image by key; that of one image holds itself, under an empty key.
        threads: how many superpixel maps may be computed at a time.
    """

    cache: PredictionCache
    runtime_model: RuntimeModel
    mask_rule: MaskRule
    threads: int

    @property
    def tasks(self) -> Mapping[str, TuningTask]: ...

    def expect(self, segmentations: Sequence[Segmentation | None]) -> None:
        """Start computing superpixel maps that will be needed soon."""

    def view(self, segmentation: Segmentation | None) -> MapView:
        """The overlap of a superpixel map with the reference."""

    def about(self, parameters: LimeParameters) -> LimeParameters:
        """The parameters for the class that the task explains."""

    def runtime(self, parameters: LimeParameters) -> RuntimeParts:
        """Modelled seconds of one explanation."""

    def runtime_ratio(self, parameters: LimeParameters) -> float:
        """Modelled seconds relative to lime's defaults."""


@dataclass(eq=False)
class TuningTask:
    """An image, its predictor, and the reference that its explanations are scored against.

    Attributes:
        image: (H, W, 3) uint8.
        source: computes the predictions that are not cached.
        runtime_model: predicts the seconds of parameter sets.
        mask_rule: how masks are read from explanations.
        threads: how many superpixel maps may be computed at a time.
        class_index: the class that is explained; ``None`` for the likeliest.
    """

    image: NDArray[np.uint8]
    source: Predictor
    reference: Reference
    cache: PredictionCache
    runtime_model: RuntimeModel
    mask_rule: MaskRule = MASK_RULE
    threads: int = 1
    class_index: int | None = None
    digest: str = field(init=False)
    _views: dict[Segmentation | None, MapView] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image.shape[:2] != self.reference.mask.shape:
            raise InvalidInput(
                f"the reference has shape {self.reference.mask.shape}, the image "
                f"{self.image.shape[:2]}: both must be in the classifier's geometry"
            )
        self.digest = array_digest(self.image)

    @property
    def tasks(self) -> Mapping[str, TuningTask]:
        """This task, under an empty key."""
        return {"": self}

    @cached_property
    def meter(self) -> FaithfulnessMeter:
        """Measures how well settings describe the classifier here."""
        return FaithfulnessMeter(self)

    @cached_property
    def faithfulness_of_defaults(self) -> Faithfulness:
        """That of lime's defaults on seed 0, the seed that their trial is scored on."""
        return self.meter.measure(self.about(LimeParameters()), range(1))

    @cached_property
    def original(self) -> NDArray[np.floating]:
        """(C,) the classifier's answer about the unperturbed image."""
        return self.cache.original(self.source, self.image, self.digest)

    @cached_property
    def label(self) -> int | None:
        """The class that lime must be asked for; ``None`` if it is the likeliest.

        Raises:
            InvalidInput: the classifier has no such class.
        """
        asked = self.class_index
        if asked is not None and asked >= len(self.original):
            raise InvalidInput(
                f"class {asked} does not exist: the classifier has classes 0 to "
                f"{len(self.original) - 1}"
            )
        return None if asked == self._top else asked

    @property
    def explained(self) -> int:
        """The index of the class that is explained."""
        return self._top if self.label is None else self.label

    @cached_property
    def _top(self) -> int:
        return top_label(self.original)

    def about(self, parameters: LimeParameters) -> LimeParameters:
        """The parameters for the task's class, whatever class they were made for."""
        if self.class_index is None:
            return parameters.about(None)
        return parameters.about(self.label)

    def explain(
        self, parameters: LimeParameters, seed: int, source: Predictor | None = None
    ) -> ImageExplanation:
        """lime's explanation of the task's class; see :func:`explainers.lime.explain`.

        Args:
            source: computes predictions that are not cached; the task's own where ``None``.
        """
        return explain(
            self.image,
            self.source if source is None else source,
            self.about(parameters),
            seed=seed,
            cache=self.cache,
            first_label_only=True,
            image_digest=self.digest,
        )

    def view(self, segmentation: Segmentation | None) -> MapView:
        """The overlap of a superpixel map with the reference; computed once."""
        found = self._views.get(segmentation)
        if found is None:
            segments = self.segments(segmentation)
            inside, outside = overlap_counts(segments, self.reference.mask)
            found = self._views[segmentation] = MapView(
                len(inside),
                inside,
                outside,
                tuple(
                    reachable_iou(inside, outside, k).iou if self.reference.exists else 1.0
                    for k in range(1, self.mask_rule.num_features + 1)
                ),
            )
        return found

    def expect(self, segmentations: Sequence[Segmentation | None]) -> None:
        """Start computing superpixel maps that will be needed soon."""
        algorithms = [lime_algorithm(each, 0) for each in segmentations if each not in self._views]
        self.cache.expect(self.image, algorithms, self.threads, self.digest)

    def segments(self, segmentation: Segmentation | None) -> NDArray[np.int64]:
        """(H, W) superpixel numbers."""
        state = np.random.RandomState(0)
        parameters = LimeParameters(segmentation=segmentation, random_seed=0)
        return segment(self.image, parameters, state, self.cache, self.digest)

    def runtime(self, parameters: LimeParameters) -> RuntimeParts:
        """Modelled seconds of one explanation."""
        pixels = self.image.shape[0] * self.image.shape[1]
        superpixels = self.view(parameters.segmentation).superpixels
        return self.runtime_model.parts(self.about(parameters), superpixels, pixels)

    def runtime_ratio(self, parameters: LimeParameters) -> float:
        """Modelled seconds relative to lime's defaults on this image."""
        return self.runtime(parameters).total / self.runtime(LimeParameters()).total

    def iou(self, parameters: LimeParameters, seed: int) -> float:
        """IoU of one explanation's mask with the reference, in [0, 1].

        Raises:
            InvalidInput: there is no reference.
        """
        if not self.reference.exists:
            raise InvalidInput("the image has no reference that a mask could be compared with")
        explanation = self.explain(parameters, seed)
        weights = explanation.local_exp[explained_label(explanation)]
        chosen = selected_superpixels(weights, self.mask_rule)
        view = self.view(parameters.segmentation)
        union = int(view.inside.sum()) + int(view.outside[chosen].sum())
        return int(view.inside[chosen].sum()) / union

    def ious(self, parameters: LimeParameters, seeds: Sequence[int]) -> list[float]:
        """The IoU with each of the seeds."""
        return [self.iou(parameters, seed) for seed in seeds]
