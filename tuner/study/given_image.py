"""An image that is given to ``tune``: a file, a Pillow picture or an array, of any size."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.images import Geometry, as_image, enlarged, load_image, prepare, range_of
from explainers.messages import warn_once

__all__ = ["GivenImage", "given_image"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GivenImage:
    """An image in a classifier's geometry.

    Attributes:
        pixels: (H, W, 3) uint8.
        geometry: the classifier's.
        name: what was given, for people.
        photograph: upright and in RGB, what the pixels were cut from; ``None`` for an array that
            had the classifier's size.
        key: the file's name without its suffix; ``None`` where there is no file.
    """

    pixels: NDArray[np.uint8]
    geometry: Geometry
    name: str
    photograph: Image.Image | None = None
    key: str | None = None

    @property
    def preparation(self) -> str:
        """What was given and what was done to it, in one line."""
        if self.photograph is None:
            return f"{self.name}, taken as it is"
        width, height = self.photograph.size
        crop = self.geometry.crop
        return (
            f"{self.name}, {width} × {height} pixels: its shorter side resized to "
            f"{self.geometry.resize or crop} pixels, the central {crop} × {crop} of that"
        )

    def at_scale(self, scale: float) -> NDArray[np.uint8]:
        """The same crop with ``scale`` times as many pixels a side, (H, W, 3) uint8."""
        if self.photograph is None or scale == 1.0:
            return enlarged(self.pixels)(scale)
        return prepare(self.photograph, self.geometry.scaled(scale))


def given_image(image: Any, geometry: Geometry) -> GivenImage:
    """Prepare an image for a classifier.

    Args:
        image: a path; or what :func:`explainers.images.as_image` takes. An array of the
            classifier's size stays as it is. Everything else is a photograph, which is resized and
            cropped; for an array that is logged, once.

    Raises:
        InvalidImage: it is no image.
    """
    if isinstance(image, (str, os.PathLike)):
        path = Path(image).expanduser()
        photograph = load_image(path)
        return GivenImage(prepare(photograph, geometry), geometry, path.name, photograph, path.stem)
    pixels = as_image(image)
    if isinstance(image, Image.Image):
        photograph = Image.fromarray(pixels)
        return GivenImage(prepare(photograph, geometry), geometry, "a Pillow picture", photograph)
    low, high = range_of(image)
    name = f"an array of {_kind(image)} from {low:g} (black) to {high:g} (white)"
    if pixels.shape[:2] == (geometry.crop, geometry.crop):
        return GivenImage(pixels, geometry, name)
    photograph = Image.fromarray(pixels)
    given = GivenImage(prepare(photograph, geometry), geometry, name, photograph)
    warn_once(_logger, f"the image is {given.preparation}")
    return given


def _kind(image: Any) -> str:
    dtype = getattr(image, "dtype", None)
    return str(np.asarray(image).dtype if dtype is None else dtype).removeprefix("torch.")
