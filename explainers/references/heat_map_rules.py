"""Rules that turn a heat map into a mask: thresholds, and borders found in the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from explainers.references.refinement import grabcut, random_walk, superpixel_mean

__all__ = ["NAMED_RULES", "HeatMapRule", "parse_heat_map_rule"]

_FEW_TIES = 0.01
"""Share of the picture, of one value at the border of ``topN``, that reading order decides about. A
cell at the picture's corner has one value, and 0.5 % of the pixels where there are 7 × 7 cells."""

Binarise = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.bool_]]


@dataclass(frozen=True)
class HeatMapRule:
    """A named way to turn a heat map in [0, 1] into a mask.

    Attributes:
        percent: of the pixels that the mask is to have, where the rule says so.
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


def _otsu(heat_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    from skimage.filters import threshold_otsu

    mask: NDArray[np.bool_] = heat_map > threshold_otsu(heat_map)
    return mask


NAMED_RULES: Mapping[str, Binarise] = {
    "otsu": _otsu, "grabcut": grabcut, "walker": random_walk, "superpixels": superpixel_mean,
}  # fmt: skip
"""Besides a fraction of the maximum and ``topN``."""


def parse_heat_map_rule(text: str) -> HeatMapRule:
    """``0.3``: at least that fraction of the maximum; ``top10``: the hottest ten percent of the
    pixels, or what is nearest to that without parting pixels of one value; ``otsu``: above Otsu's
    threshold (Otsu 1979); ``grabcut``, ``walker``, ``superpixels``: borders of the image itself,
    see :mod:`explainers.references.refinement`.

    Raises:
        InvalidInput: none of these.
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
                return HeatMapRule(text, lambda heat_map, image: _at_least(heat_map, share))
    except ValueError:
        pass  # not a number: told below, with what is allowed
    raise InvalidInput(
        f"mask rule '{text}' is unknown: give a fraction of the maximum between 0 and 1 (0.3), "
        f"a percentage of the pixels (top10), or {', '.join(NAMED_RULES)}"
    )


def _at_least(heat_map: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = heat_map >= share * heat_map.max()
    return mask


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
