"""Where an attribution lies relative to a mask, and how complex a picture is.

Functions of localisation take ``attribution`` (H, W) floating, of which only positive values are
evidence for the class, and ``mask`` (H, W) bool. Without any positive value the result is ``nan``,
which callers show as missing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.feature import canny

from explainers.errors import InvalidInput


def pointing_game(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of the attribution's maximal pixels that lie on the mask, in [0, 1]; higher is better.

    Several pixels are maximal where a superpixel is. Zhang et al. 2018, without their tolerance.
    """
    evidence = _evidence(attribution, mask)
    if not evidence.any():
        return math.nan
    peak = evidence == evidence.max()
    return float(np.count_nonzero(peak & mask) / np.count_nonzero(peak))


def energy_inside(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of the evidence that lies on the mask, in [0, 1]; higher is better.

    The energy-based pointing game of Wang et al. 2020 (Score-CAM).
    """
    evidence = _evidence(attribution, mask)
    total = float(evidence.sum())
    return float(evidence[mask].sum()) / total if total > 0 else math.nan


def background_reliance(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of the evidence that lies outside the object's mask, in [0, 1]; lower is better."""
    return 1.0 - energy_inside(attribution, mask)


def centre_distance(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Distance between the centres of mass of evidence and mask, as a share of the picture's
    diagonal; lower is better. ``nan`` for an empty mask as well."""
    evidence = _evidence(attribution, mask)
    if not evidence.any() or not mask.any():
        return math.nan
    (y, x), (v, u) = _centre(evidence), _centre(mask.astype(np.float64))
    return math.hypot(y - v, x - u) / math.hypot(*mask.shape)


def _evidence(attribution: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    if attribution.shape != mask.shape:
        raise InvalidInput(
            f"an attribution of shape {attribution.shape} and a mask of {mask.shape} cannot be "
            "compared: both must be in the image's geometry"
        )
    return np.asarray(np.maximum(attribution.astype(np.float64), 0.0))


def _centre(weights: NDArray[np.float64]) -> tuple[float, float]:
    total = float(weights.sum())
    y = float(weights.sum(axis=1) @ np.arange(weights.shape[0])) / total
    x = float(weights.sum(axis=0) @ np.arange(weights.shape[1])) / total
    return y, x


_SIGMA = 1.5  # pixels; finer edges are texture and noise


def edge_density(image: NDArray[np.uint8]) -> float:
    """Share of the pixels that lie on an edge found by Canny's detector, in [0, 1].

    Args:
        image: (H, W, 3) uint8.
    """
    return float(canny(rgb2gray(image), sigma=_SIGMA).mean())


def entropy(probabilities: NDArray[np.floating]) -> float:
    """Shannon entropy (1948) of (C,) probabilities in bits, from 0 (certain) to log2 C."""
    p = probabilities.astype(np.float64)
    shown = p[p > 0]
    return float(-(shown * np.log2(shown)).sum())
