"""Contact sheets: the images that activate a unit most, side by side in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dissection.probing.activations import activation_maps
from dissection.probing.feature_cache import NO_CACHE, FeatureCache
from dissection.probing.images import ProbingImage
from dissection.progress import Progress
from dissection.similarity import top_images
from explainers.classifiers import Classifier

__all__ = ["contact_sheets"]

_VERSION = 1  # of the drawing of contact sheets
_IMAGES = 8  # on a sheet
_SIDE, _GAP = 112, 4  # pixels
_ACTIVE = 0.5  # share of the map's maximum from which on a unit counts as active
_DIMMED = 0.35  # brightness of the other parts


def contact_sheets(
    classifier: Classifier,
    layer: str,
    images: Sequence[ProbingImage],
    activations: torch.Tensor,
    units: Sequence[int],
    *,
    cache: FeatureCache = NO_CACHE,
    on_progress: Progress = lambda share: None,
) -> dict[tuple[str, int], bytes]:
    """The eight images that activate a unit most as a JPEG file, by (layer, unit).

    Args:
        activations: (N, U) of the layer for all images.
        units: numbers of the units that get a sheet.
    """
    count = min(_IMAGES, len(activations))
    sheets = {}
    for done, unit in enumerate(units):
        top = top_images(activations[:, [unit]], count)[:, 0].tolist()
        pictures = [images[index] for index in top]

        def draw(unit: int = unit, pictures: Sequence[ProbingImage] = pictures) -> bytes:
            return _sheet(*activation_maps(classifier, pictures, layer, [unit] * count))

        what = (classifier.fingerprint, repr(classifier.geometry), layer, unit)
        key = repr((_VERSION, *what, [picture.sha256 for picture in pictures]))
        sheets[layer, unit] = cache.document(key, draw)
        on_progress((done + 1) / len(units))
    return sheets


def _sheet(pixels: NDArray[np.uint8], maps: NDArray[np.float32] | None) -> bytes:
    """A JPEG file with the images in a row, dimmed where the unit is not active.

    Args:
        pixels: (k, H, W, 3) uint8.
        maps: (k, h, w) activations, enlarged bilinearly; an image is dimmed where they are below
            half of its maximum, or not positive. ``None``: nothing is dimmed.
    """
    count = len(pixels)
    sheet = Image.new("RGB", (count * _SIDE + (count - 1) * _GAP, _SIDE), "white")
    for number in range(count):
        tile = _enlarged(pixels[number])
        if maps is not None:
            cells = np.asarray(_enlarged(maps[number].astype(np.float32)))
            active = (cells >= _ACTIVE * float(cells.max())) & (cells > 0)
            colours = np.asarray(tile)
            dimmed = (colours * _DIMMED).astype(np.uint8)
            tile = Image.fromarray(np.where(active[..., None], colours, dimmed))
        sheet.paste(tile, (number * (_SIDE + _GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _enlarged(picture: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
