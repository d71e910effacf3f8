"""The pictures that a study is known by: photograph, reference, what LIME marks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from explainers.images import REFERENCE_COLOUR, mask_overlay

__all__ = [
    "DEFAULTS_PICTURE", "PHOTOGRAPH_PICTURE", "explanation_picture", "legend",
    "photograph_picture", "trial_picture",
]  # fmt: skip

PHOTOGRAPH_PICTURE, DEFAULTS_PICTURE = "photograph", "lime defaults"
"""Under these, and under that of its best trial, a study knows its pictures
(:data:`studies.results.attributes.PICTURES`)."""

_SIDE = 256  # about; small images are enlarged by whole numbers, so that outlines are seen
_EDGE = (0, 0, 0)


def trial_picture(number: int) -> str:
    """The name of a trial's picture."""
    return f"trial {number}"


def legend(*, has_reference: bool) -> str:
    """What the colours mean."""
    white = "White: the reference. " if has_reference else ""
    return f"{white}Green: what LIME marks with its first seed."


def photograph_picture(
    image: NDArray[np.uint8], reference: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """The photograph with the outline of the reference, white on a dark edge.

    Args:
        image: (H, W, 3) uint8.
        reference: (H, W) bool; ``None`` where there is none.

    Returns:
        (k·H, k·W, 3) uint8.
    """
    factor = _factor(image)
    picture = _enlarged(image, factor)
    if reference is None:
        return picture
    outlined = _enlarged(reference, factor)
    picture[find_boundaries(outlined, mode="outer")] = _EDGE
    picture[find_boundaries(outlined, mode="inner")] = REFERENCE_COLOUR
    return picture


def explanation_picture(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], reference: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """The photograph darkened outside LIME's mask, with the outlines of both.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        reference: (H, W) bool; ``None`` where there is none.

    Returns:
        (k·H, k·W, 3) uint8.
    """
    factor = _factor(image)
    outlined = None if reference is None else _enlarged(reference, factor)
    return mask_overlay(_enlarged(image, factor), _enlarged(mask, factor), reference=outlined)


def _factor(image: NDArray[np.uint8]) -> int:
    return max(1, int(_SIDE / min(image.shape[:2]) + 0.5))


def _enlarged(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
