"""Which files are read as pictures, and what other files are recognised as."""

from __future__ import annotations

import importlib
import importlib.util

from PIL import Image

# Plugins of Pillow that register themselves when imported, where they are installed.
_PLUGINS = ("pillow_heif.HeifImagePlugin", "pillow_jxl")

# Pillow's other formats hold documents, films, weather or brushes; EPS would run Ghostscript on a
# file that somebody else may have made. TGA comes last, because it has no signature.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "HEIF", "JXL", "JPEG2000", "PPM",
    "PCX", "SGI", "QOI", "DDS", "PSD", "ICO", "ICNS", "XBM", "XPM", "SUN", "FITS", "TGA",
)  # fmt: skip

_CAMERA_RAW = (
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf", ".orf",
    ".rw2", ".pef", ".srw", ".3fr", ".iiq", ".raw",
)  # fmt: skip
_HEIC = "HEIC: pip install pillow-heif, or convert it to JPEG"
_JXL = "JPEG XL: pip install pillow-jxl-plugin, or convert it to PNG"
_SVG = "an SVG drawing: export it as PNG"
# Pillow would open the small preview in these, for they are TIFF files.
_RAW = "a camera's raw file: develop it to JPEG, PNG or TIFF"

_HEAD = 512
_BEGINNINGS = (
    (b"<!doctype html", "a web page: download the picture itself"),
    (b"<html", "a web page: download the picture itself"),
    (b"<svg", _SVG),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the picture with git lfs pull"),
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cjxl ", _JXL),
    (b"%pdf", "a PDF document: export the page as PNG"),
    (b"%!ps", "a PostScript drawing: export it as PNG"),
    (b"\x93numpy", "a NumPy array: save it as PNG"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _suffixes() -> tuple[str, ...]:
    for plugin in _PLUGINS:
        if importlib.util.find_spec(plugin.partition(".")[0]) is not None:
            importlib.import_module(plugin)
    known = Image.registered_extensions()
    formats = (*read_formats(), "MPO")  # MPO files are opened as JPEG
    return tuple(sorted(suffix for suffix, name in known.items() if name in formats))


def read_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here, in the order in which they are tried."""
    return tuple(name for name in _FORMATS if name in Image.OPEN)


IMAGE_SUFFIXES = _suffixes()
"""Suffixes of the files that are taken for pictures, in lower case, with the dot."""


def unread_suffix(suffix: str) -> str | None:
    """Kind of unreadable picture that a suffix stands for, with advice; ``None`` for others.

    Args:
        suffix: in lower case, with its dot.
    """
    if suffix in IMAGE_SUFFIXES:
        return None
    known = {".heic": _HEIC, ".heif": _HEIC, ".hif": _HEIC, ".jxl": _JXL, ".svg": _SVG}
    return _RAW if suffix in _CAMERA_RAW else known.get(suffix)


def what_it_is(content: bytes) -> str | None:
    """Kind of a file that is no readable picture, with advice; ``None`` where it is unknown.

    Args:
        content: the first bytes of the file; 512 are enough.
    """
    head = content[:_HEAD].lstrip().lower()
    if not content:
        return "an empty file: fetch it again"
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        if brand in _HEIF_BRANDS:
            return _HEIC
        return "AVIF: pip install -U pillow, or convert it to PNG" if brand == b"avif" else None
    if head.startswith(b"<?xml") and b"<svg" in head:
        return _SVG
    return next((what for begin, what in _BEGINNINGS if head.startswith(begin)), None)
