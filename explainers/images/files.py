"""Decoding picture files of any usual kind to 8-bit RGB."""

from __future__ import annotations

import io
import logging
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from explainers.errors import InvalidImage
from explainers.images.formats import read_formats, unread_suffix, what_it_is
from explainers.images.pixel_values import PHOTOMETRIC, array_to_rgb, tiff_tags, to_rgb
from explainers.messages import warn_once

_logger = logging.getLogger(__name__)

MAX_PIXELS = 200_000_000
"""Largest width × height that is read: above any camera, below what fills the memory."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# Numbers of TIFF tags, and values of these tags.
_BITS, _SAMPLES, _PLANES, _EXTRA, _SAMPLE_FORMAT = 258, 277, 284, 338, 339
_RGB, _SIGNED, _ALPHA = 2, 2, ((1,), (2,))
_SILENT = 0  # OpenCV's log level
_PNG = b"\x89PNG\r\n\x1a\n"
DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError,
    AttributeError, RuntimeError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for files that are damaged, or larger than it likes."""
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


class _Limit:
    """The pixel limit of this process, and a lock for Pillow's global settings."""

    pixels = MAX_PIXELS
    lock = threading.RLock()


def limit_pixels(most: int) -> None:
    """Read no larger pictures in this process from now on; for servers.

    Args:
        most: width × height; :data:`MAX_PIXELS` unless this is called.
    """
    _Limit.pixels = most


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture, with notes for the user on how it was read.

    Attributes:
        image: 8-bit RGB, upright.
        notes: guesses and omissions, each without the name of the file.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


def load_image(path: Path) -> Image.Image:
    """Decode a picture file to 8-bit RGB, and log the notes of :func:`read_image`, each once.

    Raises:
        InvalidImage: as :func:`read_image`.
    """
    decoded = read_image(path)
    for note in decoded.notes:
        warn_once(_logger, f"{path}: {note}")
    return decoded.image


def read_image(path: Path, *, backdrop: int = 255) -> Decoded:
    """Decode a picture file to 8-bit RGB.

    EXIF rotation is applied; palettes, CMYK and Lab are converted; transparency is laid over a
    grey of the value ``backdrop`` (white); deeper data are scaled by the range they are meant in
    (:func:`explainers.images.pixel_values.value_range`); of an animation or a document of several
    pages the first is taken. Colour profiles are not applied: networks are trained and used on
    the values in the file, so torchvision and others do not apply them either.

    Raises:
        InvalidImage: the file is missing, empty, truncated, too large or no picture at all.
    """
    with _opened(path) as content:
        try:
            return _read(content, path.suffix.lower(), backdrop)
        except InvalidImage as error:
            raise InvalidImage(f"{path} {error}") from error


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; a pipe would block, and a device may have no end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InvalidImage(f"{path} is a folder, not a file: give the path of a picture")
        if not stat.S_ISREG(mode):
            raise InvalidImage(f"{path} is not a file but a pipe or device: give a picture")
        return path.open("rb")
    except FileNotFoundError as error:
        what = "is a link to nowhere" if path.is_symlink() else "is not a file"
        raise InvalidImage(f"{path} {what}: give the path of a picture") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InvalidImage(f"{str(path)!r} cannot be opened ({_reason(error)})") from error


def _read(content: BinaryIO, suffix: str, backdrop: int) -> Decoded:
    """Decode with Pillow, or in another way where Pillow fails.

    Raises:
        InvalidImage: the file cannot be read; the message continues after the file's name.
    """
    head = content.read(512)
    known = what_it_is(head) or unread_suffix(suffix)
    tiff = head[:2] in (b"II", b"MM")
    if tiff and known is not None:
        raise InvalidImage(f"is {known}")
    try:
        return _decode(content, backdrop)
    except InvalidImage:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of many types
        again = None
        if head.startswith(_PNG):
            again = _without_metadata(content, backdrop)
        elif tiff:
            again = _deep_tiff(content, backdrop)
        if again is not None:
            return again
        if known is not None:
            raise InvalidImage(f"is {known}") from error
        raise InvalidImage(
            f"cannot be read as a picture ({_reason(error)}): replace the file or leave it out"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return "no known format"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def _pillow_set() -> Iterator[None]:
    """A context without Pillow's own pixel limit, warnings and log, which are global settings."""
    logger = logging.getLogger("PIL")
    with _Limit.lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept
            logger.setLevel(level)


def _decode(content: BinaryIO, backdrop: int) -> Decoded:
    content.seek(0)
    with _pillow_set(), Image.open(content, formats=read_formats()) as opened:
        _check_size(*opened.size)
        Image.MAX_IMAGE_PIXELS = _Limit.pixels  # for pictures inside the file, as in icons
        depth, signed = _depth(opened, content)
        opened.load()
        _check_size(*opened.size)
        notes: list[str] = []
        if depth == 16 and opened.mode in ("RGB", "RGBA", "RGBX", "CMYK"):
            rgb, more = _of_deep_colours(opened, content, backdrop)
        else:
            rgb, more = to_rgb(opened, backdrop, signed=signed)
        notes += more
        if opened.mode == "RGBA" and opened.format == "TIFF" and _EXTRA not in tiff_tags(opened):
            notes.append("its fourth channel is taken for transparency")
        try:
            rgb = upright(rgb, opened)
        except DAMAGE:
            notes.append("its EXIF data are damaged: not rotated")
        notes += _frames(opened)
    return Decoded(rgb, tuple(notes))


def upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """Turn a picture as the EXIF data of the file it was read from say.

    Pillow's own function also writes the EXIF data anew, which fails more often than reading them.
    """
    method = _UPRIGHT.get(_orientation(opened))
    return picture if method is None else picture.transpose(method)


def _orientation(opened: Image.Image) -> int:
    value = opened.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def orientation(path: Path | None) -> int:
    """The EXIF orientation of a photograph, 1 to 8; 1 (upright) where none can be read."""
    if path is None or not path.is_file():
        return 1
    try:
        with Image.open(path) as photograph:
            return _orientation(photograph)
    except DAMAGE:  # reading the picture did not turn it, either
        return 1


def _check_size(width: int, height: int) -> None:
    if width * height > _Limit.pixels:
        raise InvalidImage(
            f"has {width} × {height} pixels; at most {_Limit.pixels / 1e6:g} million are read: "
            "scale it down first"
        )


def _depth(opened: Image.Image, content: BinaryIO) -> tuple[int, bool]:
    """(bits a sample, whether they are signed), neither of which follows from Pillow's mode."""
    if opened.format == "PNG":
        place = content.tell()
        content.seek(len(_PNG) + 16)
        depth = content.read(1)[0]
        content.seek(place)
        return depth, False
    tags = tiff_tags(opened)
    bits, kinds = tags.get(_BITS, (8,)), tags.get(_SAMPLE_FORMAT, (1,))
    return int(bits[0]), kinds[0] == _SIGNED


def _frames(opened: Image.Image) -> list[str]:
    """Notes on a file with more than one picture. Called last, because it may seek in the file."""
    if opened.format in ("MPO", "PSD", "ICO", "ICNS"):
        return []  # the first is the photograph, the others are previews, depths or layers
    try:
        several = bool(getattr(opened, "is_animated", False))
    except DAMAGE:  # of a later frame; the first has been read
        several = True
    what = "page" if opened.format == "TIFF" else "frame"
    return [f"it has several {what}s: the first is taken"] if several else []


def _of_deep_colours(
    opened: Image.Image, content: BinaryIO, backdrop: int
) -> tuple[Image.Image, list[str]]:
    """Convert colours of 16 bits, of which Pillow keeps the upper 8, to RGB, with notes.

    Where all 16 bits are used, the upper 8 are right. Otherwise OpenCV, which keeps all, reads the
    file again.
    """
    if tiff_tags(opened).get(_PLANES) == 2:  # Pillow and OpenCV mix them up
        raise InvalidImage("has 16-bit colours in planes of their own: save it with 8 bits")
    upper = np.asarray(opened)
    if upper[..., :3].max() >= 64:  # more than 14 bits
        return to_rgb(opened, backdrop)
    deep = _by_opencv(content)
    if deep is None or deep.shape != upper.shape or (deep.astype(np.int64) >> 8 != upper).any():
        raise InvalidImage("has 16-bit colours of which few bits are used: save it with 8 bits")
    rgb, scale = array_to_rgb(deep, backdrop)
    return rgb, [scale.note] if scale.note else []


def _deep_tiff(content: BinaryIO, backdrop: int) -> Decoded | None:
    """Decode a TIFF of floating-point or signed colours, which Pillow does not read.

    Raises:
        InvalidImage: it has other channels, as satellite images have.
    """
    content.seek(0)
    try:
        with _pillow_set():
            tags = TiffImagePlugin.ImageFileDirectory_v2(content.read(8))
            content.seek(tags.next)
            tags.load(content)
    except DAMAGE:
        return None
    channels, extra = int(tags.get(_SAMPLES, 1)), tuple(np.ravel(tags.get(_EXTRA, ())))
    plain = (channels, extra) in ((3, ()), *((4, kind) for kind in _ALPHA))
    if channels != 1 and not (plain and tags.get(PHOTOMETRIC) == _RGB):
        raise InvalidImage(
            f"has {channels} channels that are not red, green and blue (and transparency): save "
            "it as RGB"
        )
    values = _by_opencv(content)
    if values is None:
        return None
    _check_size(values.shape[1], values.shape[0])
    rgb, scale = array_to_rgb(values, backdrop)
    return Decoded(rgb, (scale.note,) if scale.note else ())


def _by_opencv(content: BinaryIO) -> NDArray[Any] | None:
    """Decode with OpenCV: (H, W), (H, W, 3) or (H, W, 4), red first; ``None`` if that fails."""
    content.seek(0)
    data = np.frombuffer(content.read(), np.uint8)
    kept = cv2.utils.logging.setLogLevel(_SILENT)  # else errors go to stderr
    try:
        found: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(kept)
    if found is None or found.ndim == 2:
        return found
    channels = found.shape[2]
    return found[..., [2, 1, 0, 3][:channels]] if channels in (3, 4) else None


def _without_metadata(content: BinaryIO, backdrop: int) -> Decoded | None:
    """Decode a PNG's pixels and sound EXIF data alone; ``None`` if that fails, too."""
    content.seek(len(_PNG))
    kept, name = [_PNG], b""
    while name != b"IEND":
        head = content.read(8)
        if len(head) < 8:
            return None
        length, name = struct.unpack(">I4s", head)
        body = content.read(length + 4)
        sound = zlib.crc32(name + body[:-4]).to_bytes(4, "big") == body[-4:]
        if name in _PNG_PIXELS or (name == b"eXIf" and sound):
            kept += [head, body]
    try:
        decoded = _decode(io.BytesIO(b"".join(kept)), backdrop)
    except DAMAGE:
        return None
    return Decoded(decoded.image, ("its metadata are damaged: left out", *decoded.notes))
