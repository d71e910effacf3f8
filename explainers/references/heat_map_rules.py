"""Rules that turn a heat map into a mask: thresholds, and borders found in the image.

All are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.segmentation import random_walker, slic

from explainers.errors import InvalidInput

_FEW_TIES = 0.01
"""Largest share of the picture with one value at the border of ``topN`` that reading order decides
about. Of 7 × 7 cells, one at the corner of the picture has 0.5 % of the pixels, of one value."""

Binarise = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.bool_]]


@dataclass(frozen=True)
class HeatMapRule:
    """A named way to turn a heat map in [0, 1] into a mask.

    Attributes:
        percent: share of the pixels that the mask is to have, for ``topN``; else ``None``.
    """

    text: str
    binarise: Binarise
    percent: float | None = None

    def __call__(
        self, heat_map: NDArray[np.float32], image: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """(H, W) float and (H, W, 3) uint8 → (H, W) bool; a flat map marks nothing."""
        if heat_map.min() == heat_map.max():
            return np.zeros(heat_map.shape, dtype=bool)
        return self.binarise(heat_map, image)


# Shares of the maximum: from the first on pixels are certainly object, below the last certainly
# background, and from the middle one on more likely object.
_SURE, _LIKELY, _UNLIKELY = 0.8, 0.4, 0.15
# For GrabCut, from Otsu's threshold t: pixels are certainly object from t + _ABOVE (1 - t) on, and
# background below _BELOW t. Objects differ too much in size for fixed shares.
_ABOVE, _BELOW = 0.7, 0.5
_ROUNDS = 5
# The same two for ``grabcut-half``: of 36 triples (middle as a share of Otsu's threshold, above,
# below) this one agreed best with masks drawn by hand, for two networks (mean IoU 0.60; held-out
# photographs have 0.58 when the triple is chosen on the others).
_HALF_MIDDLE, _HALF_ABOVE = 0.5, 0.5
_WALK_BETA = 130.0
_SUPERPIXELS, _COMPACTNESS = 150, 10.0


def _relative(heat_map: NDArray[np.float32]) -> NDArray[np.float32]:
    peak = float(heat_map.max())
    return np.asarray(heat_map / peak if peak > 0 else heat_map)


def grabcut(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """GrabCut (Rother, Kolmogorov and Blake 2004), OpenCV's, seeded by the heat map.

    Args:
        heat_map: (H, W) float32 in [0, 1].
        image: (H, W, 3) uint8.

    Returns:
        (H, W) bool; Otsu's threshold alone where no pixel is certain.
    """
    relative = _relative(heat_map)
    if relative.min() == relative.max():
        return np.zeros(heat_map.shape, dtype=bool)
    middle = float(threshold_otsu(relative))
    likely: NDArray[np.bool_] = relative >= middle
    sure, hardly = relative >= middle + _ABOVE * (1 - middle), relative < _BELOW * middle
    if not sure.any() or not hardly.any():
        return likely
    return _cut(image, likely, sure, hardly)


def grabcut_half(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """GrabCut at half the picture's size, with more of the object given.

    For maps that are hottest in a part of the object, as ``region``: what is half as hot as Otsu's
    threshold is more likely object than not. At half the size GrabCut follows texture less, and
    took a seventh of the time.

    Args:
        heat_map: (H, W) float32 in [0, 1].
        image: (H, W, 3) uint8.

    Returns:
        (H, W) bool; a threshold alone where no pixel is certain.
    """
    height, width = heat_map.shape
    half = (max(width // 2, 1), max(height // 2, 1))
    relative = _relative(cv2.resize(heat_map, half, interpolation=cv2.INTER_AREA))
    if relative.min() == relative.max():
        return np.zeros(heat_map.shape, dtype=bool)
    middle = _HALF_MIDDLE * float(threshold_otsu(relative))
    likely: NDArray[np.bool_] = relative >= middle
    sure, hardly = relative >= middle + _HALF_ABOVE * (1 - middle), relative < _BELOW * middle
    if sure.any() and hardly.any():
        small = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        likely = _cut(small, likely, sure, hardly)
    share = cv2.resize(likely.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(share > 0.5)


def _cut(
    image: NDArray[np.uint8],
    likely: NDArray[np.bool_],
    sure: NDArray[np.bool_],
    hardly: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """OpenCV's GrabCut from (H, W) masks of likely and certain object, and certain background."""
    seeds = np.full(likely.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[likely] = cv2.GC_PR_FGD
    seeds[sure] = cv2.GC_FGD
    seeds[hardly] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its colour clusters start at random
    bgr = np.ascontiguousarray(image[..., ::-1])
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, seeds, None, background, foreground, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD))


def random_walk(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Random walker (Grady 2006), scikit-image's: pixels go to the seeds they reach first."""
    relative = _relative(heat_map)
    seeds = np.zeros(heat_map.shape, np.int32)
    seeds[relative >= _SURE] = 1
    seeds[relative < _UNLIKELY] = 2
    if len(np.unique(seeds)) < 3:
        return np.asarray(relative >= _LIKELY)
    labels = random_walker(image, seeds, beta=_WALK_BETA, mode="cg_j", channel_axis=-1)
    return np.asarray(labels == 1)


def superpixel_mean(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Superpixels (SLIC) whose mean heat is at least a share of the hottest one's."""
    labels = slic(image, n_segments=_SUPERPIXELS, compactness=_COMPACTNESS, start_label=0)
    sizes = np.bincount(labels.ravel())
    means = np.bincount(labels.ravel(), weights=heat_map.ravel()) / np.maximum(sizes, 1)
    return np.asarray((means >= _LIKELY * means.max())[labels])


def _otsu(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(heat_map > threshold_otsu(heat_map))


NAMED_RULES: Mapping[str, Binarise] = {
    "otsu": _otsu, "grabcut": grabcut, "grabcut-half": grabcut_half, "walker": random_walk,
    "superpixels": superpixel_mean,
}  # fmt: skip
"""Rules by name, besides a fraction of the maximum and ``topN``."""


def parse_heat_map_rule(text: str) -> HeatMapRule:
    """Parse a rule. ``0.3``: at least that fraction of the maximum; ``top10``: the hottest
    ten percent of the pixels, or the nearest share that does not part pixels of one value;
    ``otsu``: above Otsu's threshold (Otsu 1979); ``grabcut``, ``grabcut-half``, ``walker``,
    ``superpixels``: borders of the image itself.

    Raises:
        InvalidInput: the text is no rule.
    """
    if text in NAMED_RULES:
        return HeatMapRule(text, NAMED_RULES[text])
    try:
        if text.startswith("top"):
            percent = float(text[3:])
            if 0 < percent < 100:
                return HeatMapRule(
                    text, lambda heat_map, image: _hottest(heat_map, percent), percent
                )
        else:
            share = float(text)
            if 0 < share < 1:
                return HeatMapRule(
                    text, lambda heat_map, image: np.asarray(heat_map >= share * heat_map.max())
                )
    except ValueError:
        pass  # not a number: reported below, with what is allowed
    raise InvalidInput(
        f"mask rule '{text}' is unknown: give a fraction of the maximum between 0 and 1 (0.3), "
        f"a percentage of the pixels (top10), or {', '.join(NAMED_RULES)}"
    )


def _hottest(heat_map: NDArray[np.float32], percent: float) -> NDArray[np.bool_]:
    """The hottest pixels; those of one value are all in or all out, whichever is nearer to the
    percentage, unless they are so few that reading order may decide."""
    count = max(1, round(heat_map.size * percent / 100))
    order = np.argsort(-heat_map, axis=None, kind="stable")  # ties: first in reading order
    border = heat_map.ravel()[order[count - 1]]
    above, at_least = int((heat_map > border).sum()), int((heat_map >= border).sum())
    undecided = min(count - above, at_least - count)
    if undecided > max(1, _FEW_TIES * heat_map.size):
        whole: NDArray[np.bool_] = heat_map >= border
        inner: NDArray[np.bool_] = heat_map > border
        return whole if above == 0 or at_least - count < count - above else inner
    mask = np.zeros(heat_map.size, dtype=bool)
    mask[order[:count]] = True
    return mask.reshape(heat_map.shape)
