"""Pictures from files: decoding whatever people have, and the geometry that a classifier sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explainers.errors import InvalidImage, InvalidInput

__all__ = [
    "IMAGE_SUFFIXES", "AtScale", "Geometry", "array_digest", "enlarged", "load_image", "prepare",
]  # fmt: skip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

AtScale = Callable[[float], NDArray[np.uint8]]
"""One crop of a photograph at a scale: 1.0 is the classifier's geometry, 2.0 twice as large.
Gives (H, W, 3) uint8."""

# Twice Pillow's own limit would raise; far above any camera, far below what fills the memory.
_MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Geometry:
    """How a photograph becomes the classifier's square input.

    The shorter side is resized to ``resize`` pixels (``None``: to ``crop``), bilinear with
    anti-aliasing, then the central ``crop`` × ``crop`` square is taken: torchvision's
    ``Resize(resize)`` + ``CenterCrop(crop)``.
    """

    resize: int | None = 256
    crop: int = 224

    def __post_init__(self) -> None:
        if self.crop < 8 or (self.resize is not None and self.resize < self.crop):
            raise InvalidInput(
                f"geometry resize={self.resize} crop={self.crop} is impossible: "
                "crop must be at least 8 and resize at least as large as crop"
            )

    def scaled(self, scale: float) -> Geometry:
        """The same crop of the photograph with ``scale`` times as many pixels a side."""
        resize = None if self.resize is None else round(self.resize * scale)
        return Geometry(resize, round(self.crop * scale))


def load_image(path: Path, *, backdrop: int = 255) -> Image.Image:
    """Decode a picture file to 8-bit RGB.

    EXIF rotation is applied; palettes and CMYK are converted; transparency is laid over a grey
    of the value ``backdrop`` (white); 16-bit greyscale is scaled; of an animation the first frame
    is taken.

    Raises:
        InvalidImage: the file is missing, empty, truncated or no picture at all.
    """
    if not path.is_file():
        raise InvalidImage(f"{path} is not a file: give the path of a picture")
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise InvalidImage(
                    f"{path} has {opened.width} × {opened.height} pixels; "
                    f"at most {_MAX_PIXELS // 10**6} million are read: scale it down first"
                )
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            return _to_rgb(upright, backdrop)
    except InvalidImage:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        # Pillow raises SyntaxError for broken PNG chunks and ValueError for some broken headers.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidImage(
            f"{path} cannot be read as a picture ({reason}): replace the file or leave it out"
        ) from error


def _to_rgb(image: Image.Image, backdrop: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16- or 32-bit greyscale; convert("L") would clip it to white
        values = np.asarray(image, dtype=np.float64)
        span = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray((values / span * 255.0).clip(0, 255).astype(np.uint8))
    if image.mode == "P" or "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (backdrop, backdrop, backdrop, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def prepare(image: Image.Image, geometry: Geometry) -> NDArray[np.uint8]:
    """Bring an RGB picture of any size into the classifier's geometry.

    Returns:
        (crop, crop, 3) uint8, the same pixels as torchvision's ``Resize`` + ``CenterCrop``.
    """
    target = geometry.resize if geometry.resize is not None else geometry.crop
    width, height = image.size
    if width <= height:
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
    resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    left = round((resized.width - geometry.crop) / 2.0)
    top = round((resized.height - geometry.crop) / 2.0)
    cropped = resized.crop((left, top, left + geometry.crop, top + geometry.crop))
    return np.array(cropped, dtype=np.uint8)


def enlarged(pixels: NDArray[np.uint8]) -> AtScale:
    """For pictures whose original is not at hand: they are enlarged, bicubic.

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
