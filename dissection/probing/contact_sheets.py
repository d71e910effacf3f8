"""The images that activate a unit most, side by side, as a picture."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["contact_sheet"]

_SIDE, _GAP = 112, 4  # pixels
_FIRED = 0.5  # of the map's maximum
_DIMMED = 0.35


def contact_sheet(pixels: NDArray[np.uint8], maps: NDArray[np.float32] | None) -> bytes:
    """A JPEG file with the images in a row; what did not make the unit fire is dimmed.

    Args:
        pixels: (k, H, W, 3) uint8.
        maps: (k, h, w) activations, enlarged bilinearly; where they are below half of an image's
            maximum, or not positive, the image is dimmed. ``None``: nothing is.
    """
    count = len(pixels)
    sheet = Image.new("RGB", (count * _SIDE + (count - 1) * _GAP, _SIDE), "white")
    for number in range(count):
        tile = Image.fromarray(pixels[number]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        if maps is not None:
            tile = Image.fromarray(_dimmed(np.asarray(tile), maps[number]))
        sheet.paste(tile, (number * (_SIDE + _GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _dimmed(tile: NDArray[np.uint8], cells: NDArray[np.float32]) -> NDArray[np.uint8]:
    enlarged = np.asarray(
        Image.fromarray(cells.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    )
    highest = float(enlarged.max())
    fired = (enlarged >= _FIRED * highest) & (enlarged > 0)
    return np.where(fired[..., None], tile, (tile * _DIMMED).astype(np.uint8))
