"""Converting pixel values of any type to 8 bits, and finding the range that they are meant in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explainers.errors import InvalidImage

# What cameras, microscopes and scanners write into 16 bits without saying so.
_DEPTHS = (8, 10, 12, 14, 16)
# Resizing and colour conversion of floats exceed the range by up to this much.
_OVERSHOOT = 1e-3
PHOTOMETRIC = 262
"""The TIFF tag that says what the pixel values mean, e.g. that 0 is white."""


@dataclass(frozen=True)
class ValueRange:
    """The values of black and of white.

    Attributes:
        note: how the range was chosen, for the user; empty where it is beyond doubt.
        usual: ``False`` where no usual range holds the values, so that this one is their own,
            from the least to the largest.
    """

    low: float
    high: float
    note: str = ""
    usual: bool = True


# These formats state their range, and Pillow scales it to 16 bits.
_SCALED, _SIXTEEN = ("PPM", "JPEG2000"), ValueRange(0, 65535)


def value_range(values: NDArray[Any]) -> ValueRange:
    """The range, from black to white, that pixel values are meant in.

    Whole numbers: 8 bits, else the least of 10, 12, 14 and 16 that holds them. Floating-point
    numbers: 0 to 1, else 0 to 255. Negative and larger ones: from the least to the largest.

    Args:
        values: of any shape, not empty; boolean, integer or floating point.

    Raises:
        InvalidImage: a value is not finite.
    """
    if values.dtype.kind == "b":
        return ValueRange(0, 1)
    if values.dtype == np.uint8:
        return ValueRange(0, 255)
    if values.dtype.kind == "f":
        return _of_floats(values)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        return _own(low, high)
    depth = next(bits for bits in _DEPTHS if high < 2**bits)
    own = {"int8": 7, "int16": 15, "uint16": 16}.get(values.dtype.name, 0)
    if own and depth >= own:  # all bits of the type are used
        return ValueRange(0, 2**own - 1)
    return ValueRange(0, 2**depth - 1, f"{depth}-bit data: scaled by {2**depth - 1}")


def _of_floats(values: NDArray[Any]) -> ValueRange:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        raise InvalidImage("has values that are not finite (NaN or infinity)")
    if low < -_OVERSHOOT:
        return _own(low, high)
    if high <= 1 + _OVERSHOOT:
        return ValueRange(0, 1, "floating-point data: taken as 0 (black) to 1 (white)")
    # A picture in 0 to 255 that is not black all over has values far above 1.
    if 2 <= high <= 255 * (1 + _OVERSHOOT):
        return ValueRange(0, 255, "floating-point data: taken as 0 (black) to 255 (white)")
    return _own(low, high)


def _own(low: float, high: float) -> ValueRange:
    return ValueRange(low, high, f"data from {low:g} to {high:g}: scaled by that range", False)


def to_uint8(values: NDArray[Any], scale: ValueRange) -> NDArray[np.uint8]:
    """Values as 0 (black) to 255 (white), of the same shape.

    Whole numbers are rounded down, to keep the results of earlier versions; others to the nearest.
    """
    if values.dtype == np.uint8:
        return values
    span = scale.high - scale.low or 1
    if values.dtype.kind in "biu":
        whole = (values.astype(np.int64) - int(scale.low)) * 255 // int(span)
        return whole.astype(np.uint8)
    scaled = (values.astype(np.float64) - scale.low) / span * 255
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def array_to_rgb(
    values: NDArray[Any], backdrop: int = 255, full: ValueRange | None = None
) -> tuple[Image.Image, ValueRange]:
    """Convert grey, RGB or RGBA values of any numeric type to an RGB picture.

    Args:
        values: (H, W), (H, W, 3) or (H, W, 4).
        backdrop: grey value, 0 to 255, that transparent parts show.
        full: the range of whole numbers where it is known.

    Returns:
        The picture, and the range that its colours were scaled by.

    Raises:
        InvalidImage: a value is not finite.
    """
    colours = values if values.ndim == 2 else values[..., :3]
    whole = colours.dtype.kind in "iu"
    scale = full if full is not None and whole else value_range(colours)
    image = Image.fromarray(np.ascontiguousarray(to_uint8(colours, scale)))
    if values.ndim == 3 and values.shape[2] == 4:
        alpha = values[..., 3]
        scaled = to_uint8(alpha, value_range(alpha))
        image.putalpha(Image.fromarray(np.ascontiguousarray(scaled)))
        return over_backdrop(image, backdrop), scale
    return image.convert("RGB"), scale


def over_backdrop(image: Image.Image, backdrop: int) -> Image.Image:
    """A picture with transparency over a grey of the value ``backdrop``, as RGB."""
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, (backdrop, backdrop, backdrop, 255))
    return Image.alpha_composite(ground, rgba).convert("RGB")


def tiff_tags(opened: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF by number; empty for other files."""
    return getattr(opened, "tag_v2", {}) if opened.format == "TIFF" else {}


def is_white_at_zero(opened: Image.Image) -> bool:
    """Whether a file is a TIFF that shows its zeros as white, as scanners and ImageJ write it."""
    return tiff_tags(opened).get(PHOTOMETRIC) == 0


def to_rgb(
    image: Image.Image, backdrop: int = 255, *, signed: bool = False
) -> tuple[Image.Image, list[str]]:
    """Convert a picture of any of Pillow's modes to 8-bit RGB, with notes for the user.

    A TIFF that shows its zeros as white is inverted, where Pillow has not done it.

    Args:
        backdrop: grey value, 0 to 255, that transparent parts show.
        signed: whole numbers come from 8 or 16 bits with a sign.

    Raises:
        InvalidImage: it has values that are not finite.
    """
    rgb, notes = _converted(image, backdrop, signed)
    if is_white_at_zero(image) and image.mode not in ("1", "L"):
        rgb = ImageOps.invert(rgb)
    return rgb, notes


def _converted(image: Image.Image, backdrop: int, signed: bool) -> tuple[Image.Image, list[str]]:
    if image.mode.startswith("I") or image.mode == "F" or (signed and image.mode == "L"):
        values = np.asarray(image)
        if signed and values.dtype == np.uint8:
            values = values.view(np.int8)
        elif signed and values.min() >= -(2**15) and values.max() < 2**15:
            values = values.astype(np.int16)
        elif not signed and image.format == "TIFF" and values.dtype == np.int32:
            values = values.view(np.uint32)  # Pillow stores unsigned ones so
        rgb, scale = array_to_rgb(values, full=_SIXTEEN if image.format in _SCALED else None)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):  # one of the deep values, not of the scaled ones
            rgb.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
            rgb = over_backdrop(rgb, backdrop)
        return rgb, [scale.note] if scale.note else []
    if image.mode == "P" or image.has_transparency_data:
        return over_backdrop(image, backdrop), []
    return image.convert("RGB"), []
