"""Files as cameras, browsers and other programs leave them."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from explainers.errors import InvalidImage
from explainers.images import IMAGE_SUFFIXES, load_image, read_image
from explainers.images import files as image_files
from tests.explainers.numpy_classifiers import picture

_PIXELS = picture(6, 24, 32)


def _encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(name: bytes, body: bytes, *, sound: bool = True) -> bytes:
    check = zlib.crc32(name + body) ^ (not sound)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)


_PNG = _encoded("PNG")
_HEADER = 33  # bytes of a PNG's signature and first chunk


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000))),  # over Pillow's limit
        _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2_000_000))),
        _chunk(b"tEXt", b"k\0v", sound=False),
        _chunk(b"pHYs", b"\0"),
        _chunk(b"sRGB", b""),
    ],
)
def test_damaged_metadata_of_a_png_are_left_out(chunk: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_PNG[:_HEADER] + chunk + _PNG[_HEADER:])
    read = read_image(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read.image), _PIXELS)
    assert read.notes == ("its metadata are damaged: left out",)


def test_damaged_pixels_of_a_png_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_PNG[:500])
    with pytest.raises(InvalidImage, match="cannot be read as a picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("exif", "quarters"),
    [
        (b"Exif\0\0", 0),
        (b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0", 0),
        (b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", 0),
        (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0", 0),
        (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0\x36\0\0\0\0\0\0\0", 0),
        (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", -1),
    ],
)
def test_odd_exif_data_rotate_nothing(exif: bytes, quarters: int, tmp_path: Path) -> None:
    jpeg = _encoded("JPEG")
    (tmp_path / "plain.jpg").write_bytes(jpeg)
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "odd.jpg").write_bytes(jpeg[:2] + block + jpeg[2:])
    plain, odd = (np.asarray(read_image(tmp_path / n).image) for n in ("plain.jpg", "odd.jpg"))
    assert np.array_equal(odd, np.rot90(plain, quarters))


@pytest.mark.parametrize(
    ("kind", "what"), [("GIF", "frames"), ("PNG", "frames"), ("TIFF", "pages")]
)
def test_the_first_of_several_is_taken_and_told(kind: str, what: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (20, 10), "red"), Image.new("RGB", (20, 10), "blue")
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second])
    read = read_image(tmp_path / "a")
    assert read.image.getpixel((3, 3)) == (255, 0, 0)
    assert read.notes == (f"it has several {what}: the first is taken",)


def test_the_photograph_of_an_mpo_goes_without_saying(tmp_path: Path) -> None:
    """Telephones keep a depth or a gain map as the second picture."""
    first, second = Image.new("RGB", (20, 10), "red"), Image.new("L", (20, 10), 7)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    read = read_image(tmp_path / "a.jpg")
    assert read.image.getpixel((3, 3)) == (254, 0, 0)
    assert read.notes == ()


@pytest.mark.parametrize("kind", ["PPM", "TGA", "PCX", "SGI", "DDS", "TIFF", "BMP", "JPEG2000"])
def test_formats_without_loss(kind: str, tmp_path: Path) -> None:
    suffix = next(s for s, name in Image.registered_extensions().items() if name == kind)
    assert suffix in IMAGE_SUFFIXES
    (tmp_path / "a").with_suffix(suffix).write_bytes(_encoded(kind))
    read = read_image((tmp_path / "a").with_suffix(suffix))
    assert np.array_equal(np.asarray(read.image), _PIXELS)
    assert read.notes == ()


def test_suffixes_of_other_formats_and_of_none() -> None:
    assert {".jfif", ".mpo", ".jp2", ".tga", ".ico", ".jpg"} <= set(IMAGE_SUFFIXES)
    assert (".avif" in IMAGE_SUFFIXES) == bool(features.check("avif"))
    assert not {".pdf", ".eps", ".ps", ".mpg", ".h5", ".wmf", ".json"} & set(IMAGE_SUFFIXES)


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    grey = Image.merge("LAB", [Image.new("L", (8, 8), v) for v in (137, 128, 128)])  # L* 53.6
    grey.save(tmp_path / "lab.tif")
    assert np.abs(np.asarray(read_image(tmp_path / "lab.tif").image) - 128.0).max() <= 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jpg", b"", "is an empty file"),
        ("a.jpg", b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        ("a.png", b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "is an SVG drawing"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "pip install pillow-heif"),
        ("a.nef", _encoded("TIFF"), "a camera's raw file"),
        ("a.tif", b"II*\0\x08\0\0\0" + bytes(range(200)), "cannot be read as a picture"),
        ("a.txt", b"hello " * 99, r"no known format"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(
    name: str, content: bytes, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidImage, match=says) as caught:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    expected = {
        "folder.jpg": "is a folder", "link.jpg": "link to nowhere", "pipe.jpg": "a pipe",
        "none.jpg": "is not a file", "a\0b.jpg": "cannot be opened",
    }  # fmt: skip
    for name, says in expected.items():
        with pytest.raises(InvalidImage, match=says):
            read_image(tmp_path / name)


@pytest.fixture
def limited() -> Iterator[None]:
    image_files.limit_pixels(1000)
    yield
    image_files.limit_pixels(image_files.MAX_PIXELS)


@pytest.mark.usefixtures("limited")
def test_one_limit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # it would warn at 300 and raise at 600
    Image.new("1", (50, 20), 1).save(tmp_path / "most.png")
    Image.new("1", (1001, 1), 1).save(tmp_path / "more.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(tmp_path / "most.png").size == (50, 20)
        with pytest.raises(InvalidImage, match=r"1001 × 1 pixels; at most 0.001 million"):
            load_image(tmp_path / "more.png")
        Image.new("RGB", (256, 256)).save(tmp_path / "icon.ico", sizes=[(256, 256)])
        icon = bytearray((tmp_path / "icon.ico").read_bytes())
        icon[6:8] = b"\x09\x09"  # it says that its picture is 9 × 9
        (tmp_path / "icon.ico").write_bytes(icon)
        with pytest.raises(InvalidImage, match="256 × 256 pixels"):
            load_image(tmp_path / "icon.ico")
    assert Image.MAX_IMAGE_PIXELS == 300


def test_notes_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(tmp_path / "a.png")
    for _ in range(3):
        load_image(tmp_path / "a.png")
    assert caplog.messages == [f"{tmp_path / 'a.png'}: 10-bit data: scaled by 1023"]
