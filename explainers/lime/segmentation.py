"""Superpixel algorithms: their names, accepted parameters and relative cost.

A :class:`Segmentation` is a value (algorithm and parameters); ``as_lime()`` makes the picklable
object that stock lime calls. Labels are always contiguous from 0, because lime counts labels with
``np.unique`` but hides superpixels with ``segments == index``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lime.wrappers.scikit_image import SegmentationAlgorithm
from numpy.typing import NDArray

from explainers.errors import InvalidParameters

Number = int | float


@dataclass(frozen=True)
class Segmenter:
    """An algorithm that lime's wrapper knows, with the parameters that are ours to choose.

    Attributes:
        parameters: name → (type, smallest, largest) that is accepted.
        fixed: parameters that are always passed, because the algorithm's own default is wrong
            for lime.
        work: (parameters, pixels) → relative cost, so that seconds = constant × work. The
            constant is measured (see ``tuner.runtime.model``).
    """

    name: str
    parameters: Mapping[str, tuple[type, float, float]]
    fixed: Mapping[str, Any]
    work: Callable[[Mapping[str, Number], int], float]


def _quickshift_work(parameters: Mapping[str, Number], pixels: int) -> float:
    # Both passes of skimage's _quickshift_cython visit a (2w + 1)² window around every pixel.
    window = 2 * math.ceil(3 * float(parameters.get("kernel_size", 5))) + 1
    return pixels * float(window * window)


def _slic_work(parameters: Mapping[str, Number], pixels: int) -> float:
    # Each of the ten iterations visits a 2·step window around every centre: four times the
    # pixels, whatever the number of centres. Smoothing and conversion add a constant share.
    return float(pixels) * (1.0 + 0.1 * float(parameters.get("sigma", 0)))


def _felzenszwalb_work(parameters: Mapping[str, Number], pixels: int) -> float:
    # Sorting four edges a pixel dominates.
    return pixels * math.log2(max(pixels, 2))


SEGMENTERS: Mapping[str, Segmenter] = {
    "quickshift": Segmenter(
        "quickshift",
        {
            "kernel_size": (float, 1, 30),
            "max_dist": (float, 1, 1000),
            "ratio": (float, 0, 1),
            "sigma": (float, 0, 10),
        },
        {},
        _quickshift_work,
    ),
    "slic": Segmenter(
        "slic",
        {
            "n_segments": (int, 2, 1000),
            "compactness": (float, 0.001, 1000),
            "sigma": (float, 0, 20),
        },
        {"start_label": 0},
        _slic_work,
    ),
    "felzenszwalb": Segmenter(
        "felzenszwalb",
        {
            "scale": (float, 1, 100000),
            "sigma": (float, 0, 20),
            "min_size": (int, 1, 100000),
        },
        {},
        _felzenszwalb_work,
    ),
}


@dataclass(frozen=True)
class Segmentation:
    """A superpixel algorithm with its parameters; hashable, and equal when it is the same choice.

    Raises:
        InvalidParameters: unknown algorithm or parameter, or a value outside its range.
    """

    algorithm: str
    parameters: tuple[tuple[str, Number], ...] = ()

    def __post_init__(self) -> None:
        segmenter = SEGMENTERS.get(self.algorithm)
        if segmenter is None:
            raise InvalidParameters(
                f"segmentation algorithm {self.algorithm!r} is unknown: "
                f"use one of {', '.join(SEGMENTERS)}"
            )
        cleaned = []
        for name, value in sorted(self.parameters):
            if name not in segmenter.parameters:
                raise InvalidParameters(
                    f"{self.algorithm} has no parameter {name!r}: "
                    f"it accepts {', '.join(segmenter.parameters)}"
                )
            kind, low, high = segmenter.parameters[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidParameters(f"{self.algorithm} {name}={value!r} is not a number")
            if not low <= value <= high or (kind is int and value != int(value)):
                raise InvalidParameters(
                    f"{self.algorithm} {name}={value!r} is outside {low:g} to {high:g}"
                    + (" (whole numbers)" if kind is int else "")
                )
            cleaned.append((name, kind(value)))
        object.__setattr__(self, "parameters", tuple(cleaned))

    @classmethod
    def of(cls, algorithm: str, **parameters: Number) -> Segmentation:
        """A segmentation by keyword arguments: ``Segmentation.of("slic", n_segments=20)``."""
        return cls(algorithm, tuple(parameters.items()))

    def as_lime(self) -> SegmentationAlgorithm:
        """The object that stock lime calls; pickles without this package."""
        fixed = SEGMENTERS[self.algorithm].fixed
        return SegmentationAlgorithm(self.algorithm, **dict(self.parameters), **fixed)

    def work(self, pixels: int) -> float:
        """Relative cost on an image of that many pixels; comparable within one algorithm."""
        return SEGMENTERS[self.algorithm].work(dict(self.parameters), pixels)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(H, W, 3) uint8 → (H, W) labels, contiguous from 0, by lime's own wrapper."""
        return np.asarray(self.as_lime()(image))


def lime_algorithm(segmentation: Segmentation | None, random_seed: int) -> SegmentationAlgorithm:
    """The object that stock lime calls; ``None`` is lime's default."""
    if segmentation is None:
        return lime_default_segmentation(random_seed)
    return segmentation.as_lime()


def lime_default_segmentation(random_seed: int) -> SegmentationAlgorithm:
    """The algorithm lime 0.2.0.1 uses when ``segmentation_fn`` is ``None``."""
    return SegmentationAlgorithm(
        "quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=random_seed
    )
