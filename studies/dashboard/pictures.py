"""The pictures of a study: the photograph with its reference, and LIME's masks over it."""

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
"""Names of pictures in the study attribute :data:`studies.results.attributes.PICTURES`, which also
has the best trial's picture under the name that :func:`trial_picture` gives it."""

_SIDE = 256  # pixels; small images are enlarged to about this by whole numbers, to show outlines
_EDGE = (0, 0, 0)


def trial_picture(number: int) -> str:
    """Return the name of a trial's picture."""
    return f"trial {number}"


def legend(*, has_reference: bool) -> str:
    """Return sentences that explain the colours."""
    white = "White: the reference. " if has_reference else ""
    return f"{white}Green: what LIME marks with its first seed."


def photograph_picture(
    image: NDArray[np.uint8], reference: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Draw the outline of the reference onto the photograph, white with a black edge.

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
    """Darken the photograph outside LIME's mask, and outline mask and reference.

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
