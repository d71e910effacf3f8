"""Masks: read out of explanations and heat maps, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput, UnusableReference

__all__ = [
    "MASK_RULE",
    "HeatMapRule",
    "MaskRule",
    "check_reference",
    "consensus",
    "intersection_over_union",
    "parse_heat_map_rule",
    "selected_superpixels",
]


@dataclass(frozen=True)
class MaskRule:
    """How a mask is read out of an explanation: arguments of lime's ``get_image_and_mask``."""

    positive_only: bool = True
    num_features: int = 5
    hide_rest: bool = False
    min_weight: float = 0.0

    def as_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of ``ImageExplanation.get_image_and_mask`` but the label."""
        return asdict(self)


MASK_RULE = MaskRule()
"""What the grading protocol reads: the five heaviest positive superpixels of the top label."""


def selected_superpixels(
    weights: Sequence[tuple[int, float]], rule: MaskRule = MASK_RULE
) -> list[int]:
    """The superpixels that ``get_image_and_mask`` switches on.

    Args:
        weights: (superpixel, weight) by decreasing absolute weight, as in lime's ``local_exp``.

    Returns:
        At most ``rule.num_features`` superpixel numbers, heaviest first.
    """
    if rule.positive_only:
        kept = [int(s) for s, w in weights if w > 0 and w > rule.min_weight]
        return kept[: rule.num_features]
    return [int(s) for s, w in weights[: rule.num_features] if w >= max(rule.min_weight, 0)]


def intersection_over_union(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """|A ∩ B| / |A ∪ B| of two (H, W) bool masks, in [0, 1]; two empty masks agree (1.0).

    Raises:
        InvalidInput: the masks differ in shape.
    """
    if mask.shape != reference.shape:
        raise InvalidInput(
            f"masks of shape {mask.shape} and {reference.shape} cannot be compared: "
            "both must be in the image's geometry"
        )
    union = int(np.count_nonzero(mask | reference))
    return 1.0 if union == 0 else int(np.count_nonzero(mask & reference)) / union


@dataclass(frozen=True)
class HeatMapRule:
    """A named way to turn a heat map in [0, 1] into a mask."""

    text: str
    binarise: Callable[[NDArray[np.float32]], NDArray[np.bool_]]

    def __call__(self, heat_map: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(H, W) float → (H, W) bool."""
        return self.binarise(heat_map)


def parse_heat_map_rule(text: str) -> HeatMapRule:
    """``0.3``: at least that fraction of the maximum; ``top10``: the hottest ten percent of the
    pixels; ``otsu``: above Otsu's threshold (Otsu 1979).

    Raises:
        InvalidInput: none of these.
    """
    if text == "otsu":
        return HeatMapRule(text, _otsu)
    try:
        if text.startswith("top"):
            percent = float(text[3:])
            if 0 < percent < 100:
                return HeatMapRule(text, lambda heat_map: _hottest(heat_map, percent))
        else:
            fraction = float(text)
            if 0 < fraction < 1:
                return HeatMapRule(text, lambda heat_map: heat_map >= fraction * heat_map.max())
    except ValueError:
        pass  # not a number: told below, with what is allowed
    raise InvalidInput(
        f"mask rule '{text}' is unknown: give a fraction of the maximum between 0 and 1 (0.3), "
        "a percentage of the pixels (top10), or otsu"
    )


def _otsu(heat_map: NDArray[np.float32]) -> NDArray[np.bool_]:
    from skimage.filters import threshold_otsu

    if heat_map.min() == heat_map.max():
        return np.zeros(heat_map.shape, dtype=bool)
    mask: NDArray[np.bool_] = heat_map > threshold_otsu(heat_map)
    return mask


def _hottest(heat_map: NDArray[np.float32], percent: float) -> NDArray[np.bool_]:
    count = max(1, round(heat_map.size * percent / 100))
    order = np.argsort(-heat_map, axis=None, kind="stable")  # ties: first in reading order
    mask = np.zeros(heat_map.size, dtype=bool)
    mask[order[:count]] = True
    return mask.reshape(heat_map.shape)


def consensus(heat_maps: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of heat maps of one shape, each in [0, 1]."""
    mean: NDArray[np.float32] = np.mean(np.stack(list(heat_maps)), axis=0, dtype=np.float32)
    return mean


def check_reference(mask: NDArray[np.bool_], name: str) -> None:
    """Refuse a mask that no explanation can be scored against.

    Raises:
        UnusableReference: the mask is empty or covers the whole image.
    """
    if not mask.any():
        raise UnusableReference(
            f"the reference mask of {name} is empty: lower the threshold of the rule "
            "(e.g. gradcam@0.2), choose another method, or give a mask of your own"
        )
    if mask.all():
        raise UnusableReference(
            f"the reference mask of {name} covers the whole image: raise the threshold of the "
            "rule (e.g. gradcam@0.5), choose another method, or give a mask of your own"
        )
