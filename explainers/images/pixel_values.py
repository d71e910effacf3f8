"""Numbers of any type as brightness: which range they are meant in, and their 8-bit values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidImage

# What cameras, microscopes and scanners write into 16 bits without saying so.
_DEPTHS = (8, 10, 12, 14, 16)
# Resizing and colour conversion of floats overshoot by so much.
_OVERSHOOT = 1e-3


@dataclass(frozen=True)
class ValueRange:
    """What is black and what is white.

    Attributes:
        note: what somebody has to be told of it; empty where it goes without saying.
        usual: ``False`` where no usual range holds the values, so that this one is their own,
            from the least to the largest.
    """

    low: float
    high: float
    note: str = ""
    usual: bool = True


def value_range(values: NDArray[Any]) -> ValueRange:
    """The range that numbers are meant in.

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
    # Nobody has a picture in 0 to 255 that is black all over; it overshoots 1 by far.
    if 2 <= high <= 255 * (1 + _OVERSHOOT):
        return ValueRange(0, 255, "floating-point data: taken as 0 (black) to 255 (white)")
    return _own(low, high)


def _own(low: float, high: float) -> ValueRange:
    return ValueRange(low, high, f"data from {low:g} to {high:g}: scaled by that range", False)


def to_uint8(values: NDArray[Any], scale: ValueRange) -> NDArray[np.uint8]:
    """Values as 0 (black) to 255 (white), of the same shape.

    Whole numbers are rounded down, as 16-bit pictures always were here; others to the nearest.
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
    """Grey, RGB or RGBA values of any numeric type as an RGB picture, and the range of colours.

    Args:
        values: (H, W), (H, W, 3) or (H, W, 4).
        backdrop: grey value, 0 to 255, that transparent parts show.
        full: the range of whole numbers where it is known.

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
