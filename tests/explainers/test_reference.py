"""Reference masks, from maps and from files."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from explainers.cam import HEAT_MAP_METHODS, heat_map
from explainers.classifier import Classifier
from explainers.errors import InvalidInput, MissingAsset, UnusableReference
from explainers.images import Geometry, prepare
from explainers.reference import Reference, load_mask, parse_reference
from studies.demo_scenes import DEMO_SEEDS, draw_scene

_GEOMETRY = Geometry(32, 24)
_PHOTOGRAPH = (50, 40)  # width, height


def _disc(height: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 64
    return inside


@given(mask=hnp.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))), rule=st.text())
def test_json_round_trip(mask: NDArray[np.bool_], rule: str) -> None:
    reference = Reference(mask, rule)
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    assert again.mask.dtype == np.bool_
    assert np.array_equal(again.mask, mask)
    assert again.rule == rule
    assert again.sha256 == reference.sha256
    other = mask.copy()
    other[0, 0] ^= True
    assert Reference(other, rule).sha256 != reference.sha256


def test_digest_is_documented() -> None:
    mask = _disc(24, 24)
    expected = hashlib.sha256(b"(24, 24)" + np.packbits(mask).tobytes()).hexdigest()
    assert Reference(mask, "masks").sha256 == expected


def test_rules_are_parsed() -> None:
    assert parse_reference("gradcam").text == "gradcam@0.3"
    assert parse_reference("layercam@top10").text == "layercam@top10"
    assert {parse_reference(f"{m}@otsu").method for m in HEAT_MAP_METHODS} == set(HEAT_MAP_METHODS)
    for text in ("grad", "masks/", "", "@0.3"):
        with pytest.raises(InvalidInput, match="METHOD@RULE"):
            parse_reference(text)
    with pytest.raises(InvalidInput, match="otsu"):
        parse_reference("gradcam@2")


def test_reference_of_an_image_is_its_thresholded_map(demo_classifier: Classifier) -> None:
    scene = draw_scene("fish", DEMO_SEEDS["fish"]).image
    reference = parse_reference("gradcam@0.4").of(demo_classifier, scene, "fish")
    hot = heat_map(demo_classifier, scene, "gradcam")
    assert np.array_equal(reference.mask, hot >= np.float32(0.4) * hot.max())
    assert reference.rule == "gradcam@0.4"


@pytest.mark.parametrize("suffix", [".png", ".npy", ".bmp", ".tif"])
@pytest.mark.parametrize("top", [255, 1])
def test_mask_files_in_the_classifiers_geometry(suffix: str, top: int, tmp_path: Path) -> None:
    mask, path = _disc(24, 24), tmp_path / f"mask{suffix}"
    values = mask.astype(np.uint8) * top
    if suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    reference = load_mask(path, "fish", _GEOMETRY, _PHOTOGRAPH)
    assert np.array_equal(reference.mask, mask)
    assert reference.rule == str(path)


@pytest.mark.parametrize("dtype", [bool, np.float64, np.int32])
def test_arrays_of_any_number_type(dtype: type, tmp_path: Path) -> None:
    mask = _disc(24, 24)
    np.save(tmp_path / "mask.npy", mask.astype(dtype))
    found = load_mask(tmp_path / "mask.npy", "fish", _GEOMETRY, _PHOTOGRAPH).mask
    assert np.array_equal(found, mask)
    np.save(tmp_path / "rgb.npy", np.stack([mask] * 3, axis=2).astype(dtype))
    found = load_mask(tmp_path / "rgb.npy", "fish", _GEOMETRY, _PHOTOGRAPH).mask
    assert np.array_equal(found, mask)


def test_mask_of_the_photographs_size_follows_the_photograph(tmp_path: Path) -> None:
    mask = _disc(40, 50)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask)
    photograph = Image.fromarray(np.stack([mask.astype(np.uint8) * 255] * 3, axis=2))
    expected = prepare(photograph, _GEOMETRY)[..., 0] > 127
    for name in ("mask.png", "mask.npy"):
        found = load_mask(tmp_path / name, "fish", _GEOMETRY, _PHOTOGRAPH).mask
        assert np.array_equal(found, expected)
    assert 0 < expected.sum() < expected.size


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.fromarray(_disc(50, 40)).save(tmp_path / "turned.png")
    with pytest.raises(InvalidInput, match=r"40 × 50.*50 × 40.*24 × 24"):
        load_mask(tmp_path / "turned.png", "fish", _GEOMETRY, _PHOTOGRAPH)
    np.save(tmp_path / "flat.npy", np.ones(24 * 24))
    with pytest.raises(InvalidInput, match=r"\(576,\)"):
        load_mask(tmp_path / "flat.npy", "fish", _GEOMETRY, _PHOTOGRAPH)


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_masks_are_refused(value: int, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((24, 24), value, np.uint8)).save(path)
    with pytest.raises(UnusableReference, match="fish"):
        load_mask(path, "fish", _GEOMETRY, _PHOTOGRAPH)


@pytest.mark.parametrize("content", ["text", "empty", "pickle", "strings", "archive", "cut"])
def test_files_that_are_no_masks(content: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    if content == "text":
        path.write_text("0 1 1 0\n" * 30)
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif content == "strings":
        np.save(path, np.full((24, 24), "yes"))
    elif content == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("mask", "1")
    else:
        np.save(path, _disc(24, 24))
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match=r"mask\.npy"):
        load_mask(path, "fish", _GEOMETRY, _PHOTOGRAPH)


def test_missing_mask(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match="of fish"):
        load_mask(tmp_path / "none.png", "fish", _GEOMETRY, _PHOTOGRAPH)
