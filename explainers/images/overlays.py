"""Heat maps, superpixels and masks drawn over the photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

# Colours of a ramp like matplotlib's "turbo", dark blue to dark red; linear in between.
_RAMP = np.array(
    [
        (48, 18, 59), (65, 105, 225), (27, 207, 212), (97, 252, 108),
        (225, 220, 55), (251, 128, 34), (190, 33, 2), (122, 4, 3),
    ],
    dtype=np.float64,
)  # fmt: skip
REFERENCE_COLOUR = (255, 255, 255)
LIME_COLOUR = (50, 255, 80)


def heat_overlay(image: NDArray[np.uint8], heat_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 image with an (H, W) heat map in [0, 1] blended over it, uint8."""
    position = heat_map.astype(np.float64).clip(0, 1) * (len(_RAMP) - 1)
    below = np.minimum(position.astype(int), len(_RAMP) - 2)
    share = (position - below)[..., None]
    colours = _RAMP[below] * (1 - share) + _RAMP[below + 1] * share
    return np.asarray((image * 0.5 + colours * 0.5).round().astype(np.uint8))


def mask_overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    reference: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """The image darkened outside the mask, the mask outlined, a reference outlined in white."""
    picture = _darkened_outside(image, mask)
    if reference is not None:
        picture[find_boundaries(reference, mode="thick")] = REFERENCE_COLOUR
    picture[find_boundaries(mask, mode="thick")] = LIME_COLOUR
    return picture


def superpixel_overlay(
    image: NDArray[np.uint8], segments: NDArray[np.int64], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """All superpixel borders in yellow over the image, those outside the mask darkened."""
    picture = _darkened_outside(image, mask)
    picture[find_boundaries(segments, mode="inner")] = (255, 220, 0)
    return picture


def _darkened_outside(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    picture = image.copy()
    picture[~mask] = (picture[~mask] * 0.35).astype(np.uint8)
    return picture


def save_png(picture: NDArray[np.uint8] | NDArray[np.bool_], path: Path) -> None:
    """Write a picture, or a mask in black and white, atomically; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.dtype == bool:
        picture = picture.astype(np.uint8) * 255
    temporary = path.with_name(f".{path.name}.tmp")
    Image.fromarray(picture).save(temporary, format="PNG")
    temporary.replace(path)
