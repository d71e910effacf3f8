"""Measures of whether what an explanation marks decides the classifier's prediction.

Deletion and insertion are those of RISE (Petsiuk, Das and Saenko 2018). For LIME the held-out R²
tells whether its linear model of superpixels predicts the classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from sklearn.metrics import r2_score

from explainers.errors import InvalidInput
from explainers.lime import locality

Predict = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""(N, H, W, 3) uint8 → (N, C) probabilities."""

STEPS = 28
# RISE's values: the mean colour of ImageNet, which is zero after normalisation, and the standard
# deviation of the blur in pixels of a 224 × 224 picture.
_IMAGENET_GREY = (124, 116, 104)
_BLUR_OF_224 = 5.0
_BATCH = 16
HELD_OUT_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class Curve:
    """A class's probability while pixels are replaced step by step.

    Attributes:
        shares: (S + 1,) float64, share of the pixels that are replaced, 0 to 1.
        values: (S + 1,) float64, the probability.
    """

    shares: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Area under the curve, in [0, 1]."""
        return float(trapezoid(self.values, self.shares))


def dense_weights(weights: Mapping[int, float], superpixels: int) -> NDArray[np.float64]:
    """(superpixels,) float64 weights; 0 for superpixels without one."""
    values = np.zeros(superpixels)
    values[list(weights)] = list(weights.values())
    return values


def superpixel_map(
    segments: NDArray[np.int64], weights: Mapping[int, float], *, density: bool = False
) -> NDArray[np.float64]:
    """An attribution for every pixel from the weights of superpixels.

    Args:
        segments: (H, W) labels from 0.
        weights: by superpixel, as in :func:`dense_weights`.
        density: divide each weight among its pixels, so that the map sums to the evidence;
            otherwise each pixel has its superpixel's weight, which ranks as lime does.

    Returns:
        (H, W) float64.
    """
    values = dense_weights(weights, int(segments.max()) + 1)
    if density:
        values /= np.maximum(np.bincount(segments.ravel(), minlength=len(values)), 1)
    return np.asarray(values[segments])


def deletion_curve(
    predict: Predict,
    image: NDArray[np.uint8],
    attribution: NDArray[np.floating],
    class_index: int,
    steps: int = STEPS,
) -> Curve:
    """Grey out pixels, the most important first; the smaller the area, the better.

    Args:
        image: (H, W, 3) uint8.
        attribution: (H, W), higher is more important; equal values go in reading order.
        steps: number of predictions besides that of the whole picture.
    """
    grey = np.broadcast_to(np.array(_IMAGENET_GREY, dtype=np.uint8), image.shape)
    return _curve(predict, image, grey, attribution, class_index, steps)


def insertion_curve(
    predict: Predict,
    image: NDArray[np.uint8],
    attribution: NDArray[np.floating],
    class_index: int,
    steps: int = STEPS,
) -> Curve:
    """Sharpen a blurred picture, the most important pixels first; the larger the area, the better.

    Arguments as of :func:`deletion_curve`.
    """
    blur = _BLUR_OF_224 * min(image.shape[:2]) / 224
    blurred = cv2.GaussianBlur(image, (0, 0), blur).astype(np.uint8)
    return _curve(predict, blurred, image, attribution, class_index, steps)


def insertion_minus_deletion(
    predict: Predict,
    image: NDArray[np.uint8],
    ranking: NDArray[np.floating],
    class_index: int,
    steps: int = STEPS,
) -> float:
    """Insertion area minus deletion area of a ranking, in [-1, 1]; higher is better.

    Arguments as of :func:`deletion_curve`.
    """
    inserted = insertion_curve(predict, image, ranking, class_index, steps).area
    return inserted - deletion_curve(predict, image, ranking, class_index, steps).area


def _curve(
    predict: Predict,
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    attribution: NDArray[np.floating],
    class_index: int,
    steps: int,
) -> Curve:
    if attribution.shape != before.shape[:2]:
        raise InvalidInput(
            f"an attribution of shape {attribution.shape} does not belong to an image of shape "
            f"{before.shape[:2]}: both must be in the classifier's geometry"
        )
    if not np.isfinite(attribution).all():
        raise InvalidInput("the attribution holds values that are not finite: nothing to rank")
    order = np.argsort(-attribution.ravel(), kind="stable")
    pixels = len(order)
    bounds = np.linspace(0, pixels, steps + 1).round().astype(int)
    values = []
    for start in range(0, steps + 1, _BATCH):
        some = bounds[start : start + _BATCH]
        pictures = np.repeat(before[None], len(some), axis=0).reshape(len(some), pixels, 3)
        for picture, bound in zip(pictures, some, strict=True):
            picture[order[:bound]] = after.reshape(pixels, 3)[order[:bound]]
        answers = predict(pictures.reshape(len(some), *before.shape))
        values.append(np.asarray(answers, dtype=np.float64)[:, class_index])
    return Curve(bounds / pixels, np.concatenate(values))


def held_out_r2(
    superpixels: int,
    weights: Mapping[int, float],
    intercept: float,
    ask: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    seed: int,
) -> float:
    """Weighted R² of a LIME surrogate on perturbations it was not fitted to; at most 1.

    Whatever distance the surrogate was fitted with, perturbations are weighted by lime's default
    :func:`locality`, so that settings can be compared.

    Args:
        superpixels: number of superpixels of the map that was explained.
        weights, intercept: the surrogate's.
        ask: (S, superpixels) 0/1 → (S,) probabilities of the class.
        seed: of the fresh perturbations; not one that the explainer used.
    """
    rows: NDArray[np.int64] = np.random.RandomState(seed).randint(
        0, 2, (HELD_OUT_SAMPLES, superpixels)
    )
    predicted = intercept + rows @ dense_weights(weights, superpixels)
    return float(r2_score(ask(rows).astype(np.float64), predicted, sample_weight=locality(rows)))
