"""Converting images given as arrays, tensors and Pillow's pictures, in any usual layout."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidImage
from explainers.images.files import upright
from explainers.images.pixel_values import array_to_rgb, to_rgb, value_range
from explainers.messages import warn_once

_logger = logging.getLogger(__name__)
_CHANNELS = (1, 3, 4)
_ACCEPTED = (
    "give (H, W, 3) uint8; (H, W), (H, W, 1), (H, W, 4), (3, H, W), floats from 0 to 1 and "
    "Pillow's pictures are converted"
)


def as_image(value: Any) -> NDArray[np.uint8]:
    """Convert an image to (H, W, 3) uint8.

    Args:
        value: (H, W, 3) uint8, which is returned unchanged where it is contiguous; or (H, W),
            (H, W, 1), (H, W, 4) with transparency, which is laid over white, (1, H, W), (3, H, W)
            or (4, H, W), or one of these in a batch of one; array, tensor, nested sequence or
            Pillow's picture; of booleans, whole numbers from 0, or floats in [0, 1] or [0, 255]. A
            guess at the layout or the range is logged, once.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        InvalidImage: it is empty, has another shape or one that can be read in two ways, is of
            another type, or has values that are negative, not finite or in no usual range.
    """
    if isinstance(value, Image.Image):
        try:
            picture, notes = to_rgb(value)
        except (InvalidImage, OSError) as error:  # what Image.open promised cannot be decoded
            raise InvalidImage(f"the image {error}") from error
        for note in notes:
            warn_once(_logger, f"the image: {note}")
        return np.array(upright(picture, value), dtype=np.uint8)
    array = _array(value)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and len(array) > 4:
        return np.ascontiguousarray(array)
    array = _height_width_channels(array)
    try:
        converted, scale = array_to_rgb(array)
    except InvalidImage as error:
        raise InvalidImage(f"the image {error}") from error
    if not scale.usual:
        raise InvalidImage(
            f"the image has values from {scale.low:g} to {scale.high:g}, which is no usual range: "
            "undo its normalisation, and give uint8 or floats from 0 to 1"
        )
    if scale.note and not (array.dtype.kind in "iu" and scale.high == 255):
        # Not for int64 from 0 to 255, which NumPy's arithmetic makes of uint8.
        warn_once(_logger, f"the image: {scale.note}")
    return np.array(converted, dtype=np.uint8)


def range_of(value: Any) -> tuple[float, float]:
    """The values that :func:`as_image` takes for black and for white in an array or tensor.

    Raises:
        InvalidImage: it is no array of numbers, or one is not finite.
    """
    scale = value_range(_array(value))
    return scale.low, scale.high


def _array(value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):  # a tensor, on whatever device; bfloat16 has no array
        value = value.detach().cpu()
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InvalidImage(f"the image is no array of one shape: {_ACCEPTED}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidImage(
            f"the image is a {type(value).__name__} of type {array.dtype}, not an array of "
            f"numbers: {_ACCEPTED}"
        )
    if array.size == 0:
        raise InvalidImage(f"the image has shape {array.shape}, which is empty: {_ACCEPTED}")
    return array


def _height_width_channels(array: NDArray[Any]) -> NDArray[Any]:
    """(H, W), (H, W, 3) or (H, W, 4), where the shape says plainly which axis is which."""
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        warn_once(_logger, f"the image has shape {shape}: taken as a batch of one")
        return _height_width_channels(array[0])
    if array.ndim == 4:
        raise InvalidImage(f"the image has shape {shape}, {shape[0]} images: give one at a time")
    if array.ndim == 2:
        return array
    first, last = (array.ndim == 3 and shape[axis] in _CHANNELS for axis in (0, -1))
    if first and last:
        raise InvalidImage(
            f"the image has shape {shape}, which is (height, width, channels) or (channels, "
            f"height, width): {_ACCEPTED}"
        )
    if not first and not last:
        raise InvalidImage(f"the image has shape {shape}: {_ACCEPTED}")
    placed = np.moveaxis(array, 0, -1) if first else array
    return placed[..., 0] if placed.shape[2] == 1 else placed
