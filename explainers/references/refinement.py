"""From a coarse heat map to the object's border, by the image itself.

Each function takes a heat map and the picture it belongs to and gives a mask. All are
deterministic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["grabcut", "random_walk", "superpixel_mean"]

# Shares of the maximum: above the first the object is certain, below the last the background is;
# the middle one is where the object is more likely than not.
_SURE, _LIKELY, _UNLIKELY = 0.8, 0.4, 0.15
# GrabCut's own, from Otsu's threshold t: certain from t plus this share of what is above it, and
# background below this share of t. Objects differ too much in size for fixed shares.
_ABOVE, _BELOW = 0.7, 0.5
_ROUNDS = 5
_WALK_BETA = 130.0
_SUPERPIXELS, _COMPACTNESS = 150, 10.0


def _relative(heat_map: NDArray[np.float32]) -> NDArray[np.float32]:
    peak = float(heat_map.max())
    scaled: NDArray[np.float32] = heat_map / peak if peak > 0 else heat_map
    return scaled


def grabcut(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """GrabCut (Rother, Kolmogorov and Blake 2004), OpenCV's, seeded by the heat map.

    Args:
        heat_map: (H, W) float32 in [0, 1].
        image: (H, W, 3) uint8.

    Returns:
        (H, W) bool; above Otsu's threshold where colours tell nothing apart.
    """
    import cv2
    from skimage.filters import threshold_otsu

    relative = _relative(heat_map)
    if relative.min() == relative.max():
        return np.zeros(heat_map.shape, dtype=bool)
    middle = float(threshold_otsu(relative))
    likely: NDArray[np.bool_] = relative >= middle
    sure, hardly = relative >= middle + _ABOVE * (1 - middle), relative < _BELOW * middle
    if not sure.any() or not hardly.any():
        return likely
    seeds = np.full(heat_map.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[likely] = cv2.GC_PR_FGD
    seeds[sure] = cv2.GC_FGD
    seeds[hardly] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its colour clusters start at random
    bgr = np.ascontiguousarray(image[..., ::-1])
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, seeds, None, background, foreground, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask: NDArray[np.bool_] = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return mask


def random_walk(
    heat_map: NDArray[np.float32],
    image: NDArray[np.uint8],
    *,
    sure: float = _SURE,
    unlikely: float = _UNLIKELY,
) -> NDArray[np.bool_]:
    """Random walker (Grady 2006), scikit-image's: pixels go to the seeds they reach first.

    Args, returns:
        As :func:`grabcut`.
    """
    from skimage.segmentation import random_walker

    relative = _relative(heat_map)
    seeds = np.zeros(heat_map.shape, np.int32)
    seeds[relative >= sure] = 1
    seeds[relative < unlikely] = 2
    if len(np.unique(seeds)) < 3:
        threshold: NDArray[np.bool_] = relative >= _LIKELY
        return threshold
    labels = random_walker(image, seeds, beta=_WALK_BETA, mode="cg_j", channel_axis=-1)
    mask: NDArray[np.bool_] = labels == 1
    return mask


def superpixel_mean(
    heat_map: NDArray[np.float32], image: NDArray[np.uint8], *, likely: float = _LIKELY
) -> NDArray[np.bool_]:
    """Superpixels (SLIC) whose mean heat is at least a share of the hottest one's.

    Args, returns:
        As :func:`grabcut`.
    """
    from skimage.segmentation import slic

    labels = slic(image, n_segments=_SUPERPIXELS, compactness=_COMPACTNESS, start_label=0)
    sizes = np.bincount(labels.ravel())
    means = np.bincount(labels.ravel(), weights=heat_map.ravel()) / np.maximum(sizes, 1)
    mask: NDArray[np.bool_] = (means >= likely * means.max())[labels]
    return mask
