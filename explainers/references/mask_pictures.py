"""Masks in picture files: palettes, alpha channels, greys of any depth, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explainers.errors import InvalidImage
from explainers.images import DAMAGE, is_white_at_zero, read_image
from explainers.references.decisions import MaskSource
from explainers.references.mask_values import (
    alpha_object,
    coloured_object,
    grey_object,
    label_object,
)

# WebP may be lossless: masks of two values still work then, and labels are rarely written in it.
_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def picture_file_object(path: Path, source: MaskSource) -> NDArray[np.bool_]:
    """The object in a picture file, upright.

    Returns:
        (H, W) bool.

    Raises:
        InvalidImage: the file is no readable picture.
        InvalidInput: it is not unambiguously a mask.
    """
    read_image(path)  # raises for what is no picture or too large; its RGB values are of no use
    try:
        with Image.open(path) as opened:
            frames, lossy = getattr(opened, "n_frames", 1), opened.format in _LOSSY
            several = frames > 1 and opened.format != "MPO"
            _refuse_white_at_zero(opened, source)  # before transposing, which drops the tags
            picture = ImageOps.exif_transpose(opened)
    except DAMAGE as error:
        raise InvalidImage(
            f"{path} cannot be read as it is ({type(error).__name__}): save it as PNG again"
        ) from error
    if several:
        raise source.error(f"has {frames} frames or pages: save the mask alone")
    return picture_object(picture, source, lossy=lossy)


def picture_object(
    picture: Image.Image, source: MaskSource, *, lossy: bool = False
) -> NDArray[np.bool_]:
    """The object in a picture of any mode.

    Returns:
        (H, W) bool.

    Raises:
        InvalidInput: it is not unambiguously a mask.
    """
    _refuse_white_at_zero(picture, source)
    if picture.mode == "P" and not _hides_labels(picture):
        return _palette_object(picture, source)
    if picture.mode in _WITH_ALPHA or "transparency" in picture.info:
        pixels = np.asarray(picture.convert("RGBA"))
        return alpha_object(pixels[..., :3], pixels[..., 3], source, lossy=lossy)
    if picture.mode in ("1", "L", "F") or picture.mode.startswith("I"):
        return grey_object(np.asarray(picture), source, lossy=lossy)
    return coloured_object(np.asarray(picture.convert("RGB")), source, lossy=lossy)


def _refuse_white_at_zero(picture: Image.Image, source: MaskSource) -> None:
    """Raise for a TIFF whose zeros are white.

    ImageJ and tifffile store the object as 1 in such a file, ImageMagick the background.
    """
    if is_white_at_zero(picture):
        raise source.error(
            "is a TIFF that shows 0 as white, so that the object may be its black or its white: "
            "save it as PNG, black but for the object"
        )


def _hides_labels(picture: Image.Image) -> bool:
    """Whether a palette makes something transparent, other than the background's index 0."""
    used = set(np.unique(np.asarray(picture)).tolist())
    return bool(_transparent(picture) & used - {0})


def _transparent(picture: Image.Image) -> set[int]:
    """Indices of the colours of a palette that are not opaque."""
    transparent = picture.info.get("transparency")
    if transparent is None:
        return set()
    if isinstance(transparent, int):
        return {transparent}
    return {index for index, alpha in enumerate(transparent) if alpha < 255}


def _palette_object(picture: Image.Image, source: MaskSource) -> NDArray[np.bool_]:
    """The object in a picture with a palette, whose indices are labels.

    Two cases go by the colours: a palette of greys, and black with one other colour.
    """
    indices = np.asarray(picture)
    if 0 in _transparent(picture):
        return label_object(indices, source)  # a cut-out, whose colours do not matter
    palette = np.asarray(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if used[-1] >= len(palette):
        return label_object(indices, source)
    colours = palette[used]
    if (colours == colours[:, :1]).all() and len(np.unique(colours[:, 0])) == len(used):
        return grey_object(palette[indices][..., 0], source)
    black = [int(index) for index, colour in zip(used, colours, strict=True) if not colour.any()]
    if black and 0 not in black and len(used) == 2:
        source.record("black is taken as the background, though it is not index 0 of the palette")
        return np.asarray(palette[indices].any(axis=-1))
    if black and 0 not in black and used[0] == 0:
        raise source.error(
            f"has index 0 for the colour {tuple(int(v) for v in palette[0])} and black under "
            f"another index, {black[0]}: which is the background? Save it with 0 and 255"
        )
    return label_object(indices, source)
