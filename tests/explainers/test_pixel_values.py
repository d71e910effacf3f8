"""Ranges that numbers are meant in, in files and in arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile  # scikit-image brings it
import torch
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidImage
from explainers.images import Geometry, as_image, image_for, prepare, read_image
from tests.explainers.numpy_classifiers import picture

_GREY = np.linspace(0, 1, 30 * 20).reshape(20, 30)
_COLOURS = np.stack([_GREY, _GREY[::-1], _GREY[:, ::-1]], axis=2)


def _whole(values: NDArray[Any], most: int) -> NDArray[np.uint16]:
    return np.rint(values * most).astype(np.uint16)


_TWELVE = np.concatenate([_whole(_COLOURS, 4095), np.full((20, 30, 1), 65535, np.uint16)], 2)


@pytest.mark.parametrize(
    ("name", "values", "shown", "says"),
    [
        *(
            (f"deep.{suffix}", _whole(values, 2**bits - 1), values, f"{bits}-bit data")
            for suffix in ("png", "tif")
            for values in (_GREY, _COLOURS)
            for bits in (8, 10, 12, 14)
        ),
        ("full.png", _whole(_GREY, 65535), _GREY, ""),
        ("full.png", _whole(_COLOURS, 65535), _COLOURS, ""),
        ("alpha.png", _TWELVE, _COLOURS, "12-bit data: scaled by 4095"),
        ("unit.tif", _GREY.astype(np.float32), _GREY, "to 1 (white)"),
        ("unit.tif", _COLOURS.astype(np.float32), _COLOURS, "to 1 (white)"),
        ("bytes.tif", (_COLOURS * 255).astype(np.float32), _COLOURS, "to 255 (white)"),
        ("own.tif", (_COLOURS * 4 - 2).astype(np.float32), _COLOURS, "data from -2 to 2"),
        ("large.tif", (_GREY * 65535).astype(np.float32), _GREY, "from 0 to 65535"),
    ],
)
def test_deep_files_are_scaled_by_their_range(
    name: str, values: NDArray[Any], shown: NDArray[Any], says: str, tmp_path: Path
) -> None:
    order = {2: values, 3: values[..., [2, 1, 0, 3][: values.shape[-1]]]}[values.ndim]
    assert cv2.imwrite(str(tmp_path / name), order)
    read = read_image(tmp_path / name)
    expected = shown if shown.ndim == 3 else np.stack([shown] * 3, axis=2)
    # Whole numbers are rounded twice, when they are made here and down when they are read.
    assert np.abs(np.asarray(read.image) - expected * 255).max() < 1.13
    assert says in "".join(read.notes)
    assert bool(read.notes) == bool(says)


def test_signed_files_are_scaled_by_their_own_range(tmp_path: Path) -> None:
    Image.fromarray((_GREY * 4000 - 1000).astype(np.int32)).save(tmp_path / "scan.tif")
    read = read_image(tmp_path / "scan.tif")
    assert np.abs(np.asarray(read.image)[..., 1] - _GREY * 255).max() < 1.1
    assert read.notes == ("data from -1000 to 3000: scaled by that range",)


@pytest.mark.parametrize(
    ("values", "most", "says"),
    [
        (np.rint(_GREY * 32767).astype(np.int16), 32767, ""),
        (np.rint(_GREY * 16383).astype(np.int16), 16383, "14-bit data: scaled by 16383"),
        (np.rint(_GREY * 127).astype(np.int8), 127, ""),
        (np.rint(_GREY * 65535).astype(np.uint32), 65535, "16-bit data: scaled by 65535"),
    ],
)
def test_types_that_are_full_and_that_are_not(
    values: NDArray[Any], most: int, says: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values)
    read = read_image(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(read.image)[..., 2], values.astype(np.int64) * 255 // most)
    assert "".join(read.notes) == says


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_a_tiff_that_shows_zero_as_white(kind: str, tmp_path: Path) -> None:
    top = 1 if kind == "f4" else np.iinfo(kind).max
    tifffile.imwrite(tmp_path / "a.tif", (top - _GREY * top).astype(kind), photometric="miniswhite")
    shown = np.asarray(read_image(tmp_path / "a.tif").image)[..., 0]
    assert np.abs(shown - _GREY * 255).max() < 1.13


def test_tiffs_of_32_bits_and_of_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.rint(_GREY * (2**32 - 1)).astype(np.uint32))
    read = read_image(tmp_path / "a.tif")
    assert np.abs(np.asarray(read.image)[..., 0] - _GREY * 255).max() < 1.13
    assert "".join(read.notes).startswith("data from 0 to 4.29497e+09")
    for name, most in (("u1", 255), ("u2", 65535)):
        planes = np.moveaxis(np.rint(_COLOURS * most).astype(name), -1, 0)
        tifffile.imwrite(
            tmp_path / f"{name}.tif", planes, photometric="rgb", planarconfig="separate"
        )
    shown = np.asarray(read_image(tmp_path / "u1.tif").image)
    assert np.abs(shown - _COLOURS * 255).max() <= 0.5
    with pytest.raises(InvalidImage, match=r"u2\.tif has 16-bit colours in planes"):
        read_image(tmp_path / "u2.tif")


@pytest.mark.parametrize("bands", [3, 4, 8])
def test_bands_of_satellites_are_no_colours(bands: int, tmp_path: Path) -> None:
    values = np.rint(_GREY * 9999).astype(np.uint16)[..., None].repeat(bands, axis=2)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(InvalidImage, match=rf"a\.tif has {bands} channels that are not red"):
        read_image(tmp_path / "a.tif")


def test_a_range_that_a_file_names_is_not_guessed(tmp_path: Path) -> None:
    """A dark picture stays dark."""
    dark = (_GREY * 100).astype(">u2")
    (tmp_path / "dark.pgm").write_bytes(b"P5\n30 20\n1023\n" + dark.tobytes())
    read = read_image(tmp_path / "dark.pgm")
    assert read.notes == ()
    assert np.array_equal(np.asarray(read.image)[..., 0], dark.astype(int) * 255 // 1023)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = _GREY.astype(np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / "nan.tif")
    with pytest.raises(InvalidImage, match=r"nan\.tif has values that are not finite"):
        read_image(tmp_path / "nan.tif")


_PIXELS = picture(4, 20, 30)
_GREYS = np.stack([_PIXELS[..., 0]] * 3, axis=2)
_UNIT = _PIXELS / 255


@pytest.mark.parametrize(
    ("value", "expected", "says"),
    [
        (_PIXELS[::-1], _PIXELS[::-1], ""),
        (_PIXELS[..., ::-1], _PIXELS[..., ::-1], ""),
        (np.asfortranarray(_PIXELS), _PIXELS, ""),
        (_PIXELS[..., 0], _GREYS, ""),
        (_PIXELS[..., :1], _GREYS, ""),
        (_PIXELS[..., 0][None], _GREYS, ""),
        (np.dstack([_PIXELS, np.full((20, 30), 255, np.uint8)]), _PIXELS, ""),
        (np.dstack([_PIXELS, np.zeros((20, 30), np.uint8)]), np.full_like(_PIXELS, 255), ""),
        (_PIXELS.transpose(2, 0, 1), _PIXELS, ""),
        (_PIXELS[None], _PIXELS, "batch of one"),
        (_PIXELS.astype(np.int64), _PIXELS, ""),
        (_PIXELS.astype(np.uint16) * 257, _PIXELS, ""),
        (_PIXELS.tolist(), _PIXELS, ""),
        (_PIXELS > 127, (_PIXELS > 127) * np.uint8(255), ""),
        (_UNIT, _PIXELS, "to 1 (white)"),
        (_UNIT.astype(np.float16), _PIXELS, "to 1 (white)"),
        (_UNIT * 1.0005, _PIXELS, "to 1 (white)"),
        (_PIXELS.astype(np.float32), _PIXELS, "to 255 (white)"),
        (Image.fromarray(_PIXELS), _PIXELS, ""),
        (Image.fromarray(_PIXELS[..., 0]), _GREYS, ""),
        (torch.from_numpy(_PIXELS).permute(2, 0, 1), _PIXELS, ""),
        (torch.tensor(_UNIT, requires_grad=True).permute(2, 0, 1), _PIXELS, "to 1 (white)"),
        (torch.tensor(_UNIT).bfloat16(), _PIXELS, "to 1 (white)"),
    ],
)
def test_arrays_of_any_layout_and_type(
    value: Any, expected: NDArray[Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        image = as_image(value)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, expected)
    assert len(caplog.messages) == bool(says)  # told once
    assert says in "".join(caplog.messages)


def test_what_is_right_is_not_copied() -> None:
    pixels = _PIXELS.copy()
    pixels.flags.writeable = False
    assert as_image(pixels) is pixels


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (_UNIT * 4 - 2, "from -1.*undo its normalisation"),
        (_PIXELS.astype(int) - 300, "no usual range"),
        (_UNIT * 1.5, r"to 1\.4\d+, which is no usual range"),
        (np.where(_UNIT > 0.9, np.inf, _UNIT), "not finite"),
        (_PIXELS[:3], r"\(3, 30, 3\), which is \(height, width, channels\) or"),
        (_PIXELS[:3, :3], r"\(3, 3, 3\)"),
        (_PIXELS[..., :2], r"\(20, 30, 2\): give"),
        (_PIXELS[:0], "empty"),
        (np.stack([_PIXELS] * 2), "2 images: give one"),
        (_PIXELS.astype(object), "type object"),
        (_PIXELS.astype(complex), "complex"),
        ("cat.jpg", "is a str"),
        (None, "is a NoneType"),
        ([[1, 2], [3]], "no array of one shape"),
    ],
)
def test_what_is_no_image_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InvalidImage, match=says) as caught:
        as_image(value)
    assert "\n" not in str(caught.value)


def test_an_image_for_a_classifier() -> None:
    geometry = Geometry(None, 16)
    photograph = Image.fromarray(_PIXELS)
    assert np.array_equal(image_for(photograph, geometry, "it"), prepare(photograph, geometry))
    right = picture(5, 16, 16)
    assert image_for(right, geometry, "it") is right
    with pytest.raises(InvalidImage, match="30 × 20 pixels, it sees 16 × 16"):
        image_for(_PIXELS, geometry, "it")


def test_a_picture_that_was_opened_is_what_its_file_is(tmp_path: Path) -> None:
    """Also where 0 is white, which Pillow undoes for 8 bits only."""
    values = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20) * 100
    tifffile.imwrite(tmp_path / "scan.tif", values, photometric="miniswhite")
    with Image.open(tmp_path / "scan.tif") as opened:
        found = as_image(opened)
    assert np.array_equal(found, np.asarray(read_image(tmp_path / "scan.tif").image))
    assert found[0, 0, 0] > found[-1, -1, 0]
