"""How complex a picture is, measured on the picture and on the classifier's answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["edge_density", "entropy"]

_SIGMA = 1.5  # pixels; finer edges are texture and noise


def edge_density(image: NDArray[np.uint8]) -> float:
    """Share of the pixels that lie on an edge found by Canny's detector, in [0, 1].

    Args:
        image: (H, W, 3) uint8.
    """
    from skimage.color import rgb2gray
    from skimage.feature import canny

    return float(canny(rgb2gray(image), sigma=_SIGMA).mean())


def entropy(probabilities: NDArray[np.floating]) -> float:
    """Of a classifier's answer (C,), in bits: 0 when it is certain, log2 C when it knows nothing.

    Shannon 1948.
    """
    p = probabilities.astype(np.float64)
    shown = p[p > 0]
    return float(-(shown * np.log2(shown)).sum())
