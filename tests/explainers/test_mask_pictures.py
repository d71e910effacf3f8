"""Masks in picture files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile  # scikit-image brings it
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidImage, InvalidInput
from explainers.references import Decisions
from explainers.references.decisions import MaskSource
from explainers.references.mask_pictures import picture_file_object, picture_object

_Mask = NDArray[np.bool_]


def _palette(mask: _Mask, background: int, label: int, colours: dict[int, int]) -> Image.Image:
    picture = Image.fromarray(np.where(mask, label, background).astype(np.uint8))
    flat = [0] * 768
    for index, grey in colours.items():
        flat[3 * index : 3 * index + 3] = [grey, grey, grey if grey == 255 else 0]
    picture.putpalette(flat)
    return picture


def _cut_out(mask: _Mask) -> Image.Image:
    """White is transparent, and index 0."""
    picture = _palette(mask, 0, 1, {0: 255, 1: 0})
    picture.info["transparency"] = 0
    return picture


def _rgba(mask: _Mask, red: int, hidden: int) -> Image.Image:
    """Red where the mask is; what is hidden has a colour, too."""
    colours = np.where(mask[..., None], (red, 0, 0), (hidden, 9, 9))
    return Image.fromarray(np.dstack([colours, mask * 255]).astype(np.uint8))


_ENCODINGS: dict[str, Callable[[_Mask], Image.Image]] = {
    "1": lambda m: Image.fromarray(m),
    "L 0/1": lambda m: Image.fromarray(m.astype(np.uint8)),
    "L 0/255": lambda m: Image.fromarray(m.astype(np.uint8) * 255),
    "L 0/12": lambda m: Image.fromarray(m.astype(np.uint8) * 12),
    "I;16": lambda m: Image.fromarray(m.astype(np.uint16) * 40000),
    "I;16 0/1": lambda m: Image.fromarray(m.astype(np.uint16)),
    "RGB": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGB"),
    "RGB black and red": lambda m: Image.fromarray(
        np.dstack([m, m * 0, m * 0]).astype(np.uint8) * 128
    ),
    "LA opaque": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("LA"),
    "LA hidden": lambda m: Image.fromarray(np.dstack([m * 0, m * 255]).astype(np.uint8)),
    "RGBA opaque": lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGBA"),
    "RGBA cut-out": lambda m: _rgba(m, 200, 77),
    "RGBA black cut-out": lambda m: _rgba(m, 0, 77),
    "P label": lambda m: _palette(m, 0, 12, {12: 128}),
    "P grey": lambda m: _palette(m, 0, 255, {255: 255}),
    "P dark label": lambda m: _palette(m, 0, 1, {1: 2}),
    "P black is not index 0": lambda m: _palette(m, 1, 0, {0: 255, 1: 0}),
    "P black cut-out": _cut_out,
    "P both elsewhere": lambda m: _palette(m, 7, 3, {3: 90, 7: 0}),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks") / "mask.png"


@settings(max_examples=8, deadline=None)
@given(
    mask=hnp.arrays(bool, st.tuples(st.integers(2, 9), st.integers(2, 9))).filter(
        lambda m: m.any() and not m.all()
    )
)
def test_every_way_to_store_two_values(path: Path, mask: _Mask) -> None:
    for name, encoded in _ENCODINGS.items():
        encoded(mask).save(path)
        assert np.array_equal(picture_file_object(path, MaskSource("mask.png")), mask), name


_TRUTH = np.zeros((40, 60), bool)
_TRUTH[10:30, 20:50] = True
_LEFT = _TRUTH & (np.arange(60) < 30)
_BORDER = np.zeros((40, 60), bool)
_BORDER[8:32, 18:52] = True
_BORDER &= ~_TRUTH
_VOC = {1: 128, 8: 64, 15: 192, 255: 224}


@pytest.mark.parametrize(
    ("labels", "expected", "message"),
    [
        (_TRUTH * 15 + _BORDER * 255, _TRUTH, "label 255 is taken as void"),
        (_LEFT * 8 + (_TRUTH & ~_LEFT) * 15, _TRUTH, "cat.png (labels 8, 15)"),
        (_TRUTH * 255, _TRUTH & False, "label 255 is taken as void"),
    ],
)
def test_palettes_hold_labels(
    labels: NDArray[np.int64], expected: _Mask, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    picture = _palette(_TRUTH, 0, 1, _VOC)
    palette = picture.getpalette()
    assert palette is not None
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(palette)
    decisions = Decisions()
    assert np.array_equal(picture_object(picture, MaskSource("cat.png", decisions)), expected)
    decisions.log()
    assert message in caplog.text


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (_palette(_TRUTH, 0, 2, {0: 255, 2: 90}), "black under another index, 1"),
        (Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) % 255).convert("L")
         .quantize(256), "values"),
        (Image.merge("LA", [Image.fromarray(_TRUTH.astype(np.uint8) * 255),
                            Image.fromarray((np.arange(2400) % 60 > 2).reshape(40, 60)
                                            .astype(np.uint8) * 255)]), "black the object"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(picture: Image.Image, reason: str) -> None:
    if "index" in reason:
        picture.putpixel((0, 0), 1)
    with pytest.raises(InvalidInput, match=f"^cat.png .*{reason}"):
        picture_object(picture, MaskSource("cat.png"))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossy_masks_are_cut_at_half(
    suffix: str, mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, decisions = tmp_path / f"mask.{suffix}", Decisions()
    Image.fromarray(_TRUTH.astype(np.uint8) * 255).convert(mode).save(path, quality=70)
    found = picture_file_object(path, MaskSource("mask", decisions))
    assert np.count_nonzero(found ^ _TRUTH) <= 4
    decisions.log()
    assert "half" in caplog.text


@pytest.mark.parametrize("kind", ["?", "u1"])
def test_a_tiff_that_shows_zero_as_white_is_refused(kind: str, tmp_path: Path) -> None:
    """It says one thing to those who look at it, and another to those who read its numbers."""
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, _TRUTH.astype(kind), photometric="miniswhite")
    with pytest.raises(InvalidInput, match=r"^mask\.tif is a TIFF that shows 0 as white"):
        picture_file_object(path, MaskSource("mask.tif"))
    tifffile.imwrite(path, _TRUTH.astype(kind), photometric="minisblack")
    assert np.array_equal(picture_file_object(path, MaskSource("mask.tif")), _TRUTH)


def test_several_pages_and_no_picture_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(_TRUTH)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(InvalidInput, match="2 frames or pages"):
        picture_file_object(tmp_path / "pages.tif", MaskSource("pages.tif"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InvalidImage, match=r"text\.png"):
        picture_file_object(tmp_path / "text.png", MaskSource("text.png"))


def test_a_faint_shadow_is_neither_the_object_nor_a_label() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[20:60, 20:60] = 255
    alpha[60:62, 20:60] = 40
    picture = Image.fromarray(np.dstack([np.full((100, 100, 3), 90, np.uint8), alpha]))
    decisions = Decisions()
    assert np.array_equal(picture_object(picture, MaskSource("cut.png", decisions)), alpha == 255)
    alpha[60:80, 20:60] = 40  # as much as half of the object: which is it?
    picture = Image.fromarray(np.dstack([np.full((100, 100, 3), 90, np.uint8), alpha]))
    with pytest.raises(InvalidInput, match="neither two"):
        picture_object(picture, MaskSource("cut.png", decisions))
