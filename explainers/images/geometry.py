"""Preparing pictures in the geometry of a classifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidImage, InvalidInput
from explainers.images.arrays import as_image

# Pixels a side: far more than any classifier takes, and few enough for the memory.
_LARGEST_SIDE = 8192
_FILTERS = tuple(each.name.lower() for each in Image.Resampling)

AtScale = Callable[[float], NDArray[np.uint8]]
"""One crop of a photograph at a scale: 1.0 is the classifier's geometry, 2.0 twice as large.
Gives (H, W, 3) uint8."""


@dataclass(frozen=True)
class Geometry:
    """How a photograph becomes the classifier's square input.

    The shorter side is resized to ``resize`` pixels (``None``: to ``crop``), bilinear with
    anti-aliasing, then the central ``crop`` × ``crop`` square is taken: torchvision's
    ``Resize(resize)`` + ``CenterCrop(crop)``. The other attributes are for networks that were
    trained with another library's preparation.

    Attributes:
        interpolation: one of Pillow's filters, in lower case.
        squash: both sides are resized to ``resize``, whatever the shape of the photograph.
        floor: half a pixel of margin is rounded down, as transformers does; otherwise to the even
            number, as torchvision does.
    """

    resize: int | None = 256
    crop: int = 224
    interpolation: str = "bilinear"
    squash: bool = False
    floor: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise InvalidInput(
                f"geometry interpolation={self.interpolation!r} is unknown: give one of "
                f"{', '.join(_FILTERS)}"
            )
        sides = (self.crop,) if self.resize is None else (self.crop, self.resize)
        if any(isinstance(side, bool) or not isinstance(side, Integral) for side in sides):
            raise InvalidInput(
                f"geometry resize={self.resize!r} crop={self.crop!r} is impossible: both are whole "
                "numbers of pixels"
            )
        # NumPy's integers cannot be written as JSON.
        object.__setattr__(self, "crop", int(self.crop))
        if self.resize is not None:
            object.__setattr__(self, "resize", int(self.resize))
        if max(sides) > _LARGEST_SIDE:
            raise InvalidInput(
                f"geometry resize={self.resize} crop={self.crop} is impossible: at most "
                f"{_LARGEST_SIDE} pixels a side"
            )
        if self.crop < 8 or (self.resize is not None and self.resize < self.crop):
            raise InvalidInput(
                f"geometry resize={self.resize} crop={self.crop} is impossible: "
                "crop must be at least 8 and resize at least as large as crop"
            )

    def scaled(self, scale: float) -> Geometry:
        """The same crop of the photograph with ``scale`` times as many pixels a side."""
        resize = None if self.resize is None else round(self.resize * scale)
        return replace(self, resize=resize, crop=round(self.crop * scale))

    def to_json(self) -> dict[str, Any]:
        """``resize`` and ``crop``, and of the other attributes those that are not as usual."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if name in ("resize", "crop") or value != getattr(Geometry, name)
        }

    def __repr__(self) -> str:  # stored as a key, so what is usual must not appear in it
        return f"Geometry({', '.join(f'{k}={v!r}' for k, v in self.to_json().items())})"


def prepare(image: Image.Image, geometry: Geometry) -> NDArray[np.uint8]:
    """Bring an RGB picture of any size into the classifier's geometry.

    Returns:
        (crop, crop, 3) uint8, the same pixels as torchvision's ``Resize`` + ``CenterCrop`` for the
        usual geometry.
    """
    target = geometry.resize if geometry.resize is not None else geometry.crop
    width, height = image.size
    if geometry.squash:
        size = (target, target)
    elif width <= height:
        size = (target, max(1, int(target * height / width)))
    else:
        size = (max(1, int(target * width / height)), target)
    # Only the strip that the crop can see is resized, so a 1 × 10,000 picture costs no more
    # than a photograph. It changes no pixel while the whole picture is of a sane size.
    if max(size) > 64 * target:
        middle = max(width, height) // 2
        half = max(1, min(width, height)) * 2
        box = (
            (max(0, middle - half), 0, min(width, middle + half), height)
            if width > height
            else (0, max(0, middle - half), width, min(height, middle + half))
        )
        return prepare(image.crop(box), geometry)
    resampling = Image.Resampling[geometry.interpolation.upper()]
    resized = image if image.size == size else image.resize(size, resampling)
    rounded = math.floor if geometry.floor else round
    left = rounded((resized.width - geometry.crop) / 2.0)
    top = rounded((resized.height - geometry.crop) / 2.0)
    cropped = resized.crop((left, top, left + geometry.crop, top + geometry.crop))
    return np.array(cropped, dtype=np.uint8)


def image_for(value: Any, geometry: Geometry, name: str) -> NDArray[np.uint8]:
    """Convert an image to a classifier's geometry.

    Args:
        value: Pillow's picture, which is prepared; or what :func:`explainers.images.as_image`
            takes, of the size that the classifier takes.
        name: of the classifier, for messages.

    Returns:
        (crop, crop, 3) uint8.

    Raises:
        InvalidImage: it is no image, or an array of another size.
    """
    pixels = as_image(value)
    if isinstance(value, Image.Image):
        return prepare(Image.fromarray(pixels), geometry)
    if pixels.shape[:2] != (geometry.crop, geometry.crop):
        raise InvalidImage(
            f"the image is {pixels.shape[1]} × {pixels.shape[0]} pixels, {name} sees "
            f"{geometry.crop} × {geometry.crop}: give explainers.images.prepare(PIL.Image."
            "fromarray(image), classifier.geometry)"
        )
    return pixels


def enlarged(pixels: NDArray[np.uint8]) -> AtScale:
    """Scales of a prepared picture without its original photograph, by bicubic enlargement.

    Args:
        pixels: (H, W, 3) uint8.
    """

    def at_scale(scale: float) -> NDArray[np.uint8]:
        if scale == 1.0:
            return pixels
        height, width = (round(side * scale) for side in pixels.shape[:2])
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        return np.array(picture, dtype=np.uint8)

    return at_scale


def array_digest(array: NDArray[np.generic]) -> str:
    """Sha256 (hex) of an array's dtype, shape and bytes: equal arrays have equal digests."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
