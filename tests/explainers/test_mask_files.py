"""Reference masks from files."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput, MissingAsset, UnusableReference
from explainers.images import Geometry, prepare
from explainers.references import (
    MaskFolder,
    Photograph,
    coco_mask,
    given_mask,
    load_mask,
    read_coco,
)

_GEOMETRY = Geometry(32, 24)
_FISH = Photograph("fish", _GEOMETRY, (50, 40))


def _disc(height: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 64
    return inside


@pytest.mark.parametrize("suffix", [".png", ".npy", ".bmp", ".tif"])
@pytest.mark.parametrize("top", [255, 1])
def test_mask_files_in_the_classifiers_geometry(suffix: str, top: int, tmp_path: Path) -> None:
    mask, path = _disc(24, 24), tmp_path / f"mask{suffix}"
    values = mask.astype(np.uint8) * top
    if suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    reference = load_mask(path, _FISH)
    assert np.array_equal(reference.mask, mask)
    assert reference.rule == str(path)


@pytest.mark.parametrize("dtype", [bool, np.float64, np.int32])
def test_arrays_of_any_number_type(dtype: type, tmp_path: Path) -> None:
    mask = _disc(24, 24)
    np.save(tmp_path / "mask.npy", mask.astype(dtype))
    found = load_mask(tmp_path / "mask.npy", _FISH).mask
    assert np.array_equal(found, mask)
    np.save(tmp_path / "rgb.npy", np.stack([mask] * 3, axis=2).astype(dtype))
    found = load_mask(tmp_path / "rgb.npy", _FISH).mask
    assert np.array_equal(found, mask)


def test_mask_of_the_photographs_size_follows_the_photograph(tmp_path: Path) -> None:
    mask = _disc(40, 50)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask)
    photograph = Image.fromarray(np.stack([mask.astype(np.uint8) * 255] * 3, axis=2))
    expected = prepare(photograph, _GEOMETRY)[..., 0] > 127
    for name in ("mask.png", "mask.npy"):
        found = load_mask(tmp_path / name, _FISH).mask
        assert np.array_equal(found, expected)
    assert 0 < expected.sum() < expected.size


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.fromarray(_disc(50, 40)).save(tmp_path / "turned.png")
    with pytest.raises(InvalidInput, match=r"40 × 50.*50 × 40.*24 × 24"):
        load_mask(tmp_path / "turned.png", _FISH)
    np.save(tmp_path / "flat.npy", np.ones(24 * 24))
    with pytest.raises(InvalidInput, match=r"\(576,\)"):
        load_mask(tmp_path / "flat.npy", _FISH)


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_masks_are_refused(value: int, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((24, 24), value, np.uint8)).save(path)
    with pytest.raises(UnusableReference, match="fish"):
        load_mask(path, _FISH)


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
        load_mask(path, _FISH)


def test_empty_masks_say_what_to_do_about_masks(tmp_path: Path) -> None:
    path, edge = tmp_path / "mask.npy", np.zeros((40, 50), bool)
    np.save(path, edge)
    with pytest.raises(UnusableReference, match=r"mask\.npy of fish is empty.*draw") as caught:
        load_mask(path, _FISH)
    assert "gradcam" not in str(caught.value)
    edge[:, :2] = True
    np.save(path, edge)
    with pytest.raises(UnusableReference, match="part of the photograph that the classifier sees"):
        load_mask(path, _FISH)


@pytest.mark.parametrize(
    ("geometry", "photograph", "mask", "message"),
    [
        (_GEOMETRY, (24, 24), (24, 24), "masks of the photograph's size, 24 × 24, follow"),
        (Geometry(None, 24), (24, 24), (24, 24), ""),
        (_GEOMETRY, (60, 60), (24, 24), "as drawn on the classifier's crop"),
        (Geometry(None, 24), (60, 60), (24, 24), ""),
        (_GEOMETRY, (60, 60), (60, 60), ""),
        (_GEOMETRY, (50, 40), (24, 24), ""),
    ],
)
def test_sizes_that_could_be_meant_otherwise(
    geometry: Geometry,
    photograph: tuple[int, int],
    mask: tuple[int, int],
    message: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mask of the photograph's size always follows the photograph."""
    drawn = np.zeros(mask, bool)
    drawn[: mask[0] // 2, : mask[1] // 3] = True
    np.save(tmp_path / "mask.npy", drawn)
    found = load_mask(tmp_path / "mask.npy", Photograph("fish", geometry, photograph)).mask
    expected = drawn
    if mask == photograph:
        picture = Image.fromarray(drawn.astype(np.uint8) * 255).convert("RGB")
        expected = prepare(picture, geometry)[..., 0] > 127
    assert np.array_equal(found, expected)
    assert message in caplog.text if message else caplog.text == ""


def test_photographs_that_exif_turns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def photograph(orientation: int) -> Path:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.jpg"
        Image.new("RGB", (40, 50)).save(path, exif=exif)
        return path

    path = tmp_path / "mask.npy"
    np.save(path, _disc(50, 40))
    with pytest.raises(InvalidInput, match="turned by its EXIF data, and the mask is not"):
        load_mask(path, replace(_FISH, path=photograph(6)))
    np.save(path, _disc(40, 50))
    load_mask(path, replace(_FISH, path=photograph(6)))
    assert caplog.text == ""
    load_mask(path, replace(_FISH, path=photograph(3)))
    assert "upright" in caplog.text


def test_the_photograph_itself_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(_disc(40, 50)).save(tmp_path / "fish.png")
    path = tmp_path / "fish.png"
    with pytest.raises(InvalidInput, match="the photograph itself"):
        load_mask(path, replace(_FISH, path=path))


def test_masks_that_programs_give() -> None:
    mask = _disc(24, 24)
    for given in (mask, mask * 255, mask[None].astype(float), Image.fromarray(mask)):
        reference = given_mask(given, (24, 24))
        assert np.array_equal(reference.mask, mask)
        assert reference.rule == "given"
        assert reference.coverage == mask.mean()
    with pytest.raises(InvalidInput, match=r"\(24, 20\).*\(24, 24\)"):
        given_mask(mask[:, :20], (24, 24))
    with pytest.raises(InvalidInput, match="NaN"):
        given_mask(np.where(mask, 1, np.nan), (24, 24))
    with pytest.raises(UnusableReference, match="covers the whole image"):
        given_mask(np.ones((24, 24)), (24, 24))


@pytest.mark.parametrize("size", [(50, 40), (24, 24)])
def test_masks_that_programs_give_follow_a_photograph(size: tuple[int, int]) -> None:
    mask = _disc(size[1], size[0])
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    expected = prepare(picture.convert("RGB"), _GEOMETRY)[..., 0] > 127
    for given in (mask, picture):
        found = given_mask(given, (24, 24), geometry=_GEOMETRY, photograph=size).mask
        assert np.array_equal(found, expected)
    with pytest.raises(InvalidInput, match="reference is 30 × 40"):
        given_mask(np.eye(40, 30), (24, 24), geometry=_GEOMETRY, photograph=size)


def test_missing_mask(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match="of fish"):
        load_mask(tmp_path / "none.png", _FISH)


def test_labelme_and_coco_files_follow_the_photograph_like_pictures(tmp_path: Path) -> None:
    square = [[10, 12], [30, 12], [30, 28], [10, 28]]
    mask = np.zeros((40, 50), bool)
    mask[12:28, 10:30] = True
    np.save(tmp_path / "fish.npy", mask)
    expected = load_mask(tmp_path / "fish.npy", _FISH).mask
    shapes = [{"label": "fish", "points": square, "shape_type": "polygon"}]
    labelme = {"imageWidth": 50, "imageHeight": 40, "shapes": shapes}
    (tmp_path / "bird.json").write_text(json.dumps(labelme))
    found = load_mask(MaskFolder(tmp_path).mask_of("bird"), _FISH)
    assert np.array_equal(found.mask, expected)
    coco = {
        "images": [{"id": 7, "file_name": "photos/fish.jpg", "width": 50, "height": 40}],
        "annotations": [{"image_id": 7, "segmentation": [[x for p in square for x in p]]}],
    }
    (tmp_path / "all.json").write_text(json.dumps(coco))
    masks = read_coco(tmp_path / "all.json")
    assert np.array_equal(coco_mask(masks, "fish.png", _FISH).mask, expected)
    with pytest.raises(MissingAsset, match=r"fox\.json"):
        MaskFolder(tmp_path).mask_of("fox")


# Which file is the mask of a photograph.


_COMPOSED = unicodedata.normalize("NFC", "café")
_DECOMPOSED = unicodedata.normalize("NFD", "café")


def _fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(name)


@pytest.mark.parametrize(
    ("names", "key", "photograph", "found"),
    [
        (["cat.PNG"], "cat", None, "cat.PNG"),
        (["cat.JSON", "dog.json"], "cat", None, "cat.JSON"),
        (["._cat.png", ".DS_Store", "Thumbs.db", "cat.npy"], "cat", None, "cat.npy"),
        ([f"{_DECOMPOSED}.png"], _COMPOSED, None, f"{_DECOMPOSED}.png"),
        ([f"{_COMPOSED}.png"], _DECOMPOSED, None, f"{_COMPOSED}.png"),
        (["cat.png", "cat.json"], "cat", "cat.png", "cat.json"),
        (["cat.png", "cat.jpg"], "cat", None, "cat.png"),
        (["cat.jpg"], "cat", None, "cat.jpg"),
        (["cat.jpg", "cat.jpg.png"], "cat", "cat.jpg", "cat.jpg.png"),
        (["v1.2.png"], "v1.2", None, "v1.2.png"),
    ],
)
def test_found(
    names: list[str], key: str, photograph: str | None, found: str, tmp_path: Path
) -> None:
    _fill(tmp_path, *names)
    own = None if photograph is None else tmp_path / photograph
    assert MaskFolder(tmp_path).mask_of(key, own).name == found


def test_a_copy_of_the_photograph_is_not_its_mask(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("pixels")
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "cat.png").write_text("pixels")
    with pytest.raises(MissingAsset, match=r"cat\.png is the photograph itself"):
        MaskFolder(masks).mask_of("cat", tmp_path / "cat.png")
    (masks / "cat.json").write_text("{}")
    assert MaskFolder(masks).mask_of("cat", tmp_path / "cat.png").suffix == ".json"


def test_several_masks_are_refused(tmp_path: Path) -> None:
    _fill(tmp_path, "cat.png", "cat.npy", "dog.png")
    with pytest.raises(InvalidInput, match=r"several masks of 'cat' \(cat\.npy, cat\.png\)"):
        MaskFolder(tmp_path).mask_of("cat")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat_mask.png", "dog_mask.png"], r"there is cat_mask\.png\)"),
        (["Cat.png"], r"there is Cat\.png"),
        (["._cat.png", "a.png", "b.png"], r"there are 2 others: a\.png, b\.png"),
        (["cat.txt", "cat.npz"], r"there is cat\.npz, cat\.txt"),
        (["._cat.png"], "no mask of 'cat': name it"),
    ],
)
def test_what_there_is_instead(names: list[str], said: str, tmp_path: Path) -> None:
    _fill(tmp_path, *names)
    with pytest.raises(MissingAsset, match=said):
        MaskFolder(tmp_path).mask_of("cat")


def test_masks_beside_photographs(tmp_path: Path) -> None:
    """Renaming them as for a folder of their own does not help."""
    _fill(tmp_path, "cat.jpg", "cat.png")
    for keys in (["cat.jpg"], ["cat.jpg", "cat.png"]):
        photographs = {key: tmp_path / key for key in keys}
        with pytest.raises(MissingAsset, match="put masks into a folder of their own, as "):
            MaskFolder(tmp_path).masks_of(photographs)


def test_how_many_are_missing(tmp_path: Path) -> None:
    _fill(tmp_path, "b.png")
    with pytest.raises(MissingAsset, match=r"no mask of 3 of 4 images \(a, c, d\)"):
        MaskFolder(tmp_path).masks_of({key: None for key in "abcd"})
    with pytest.raises(MissingAsset, match=r"2 of 2 images \(b, c\) \(b\.png is the photograph"):
        MaskFolder(tmp_path).masks_of({"b": tmp_path / "b.png", "c": None})
    assert MaskFolder(tmp_path).masks_of({"b": None}) == {"b": tmp_path / "b.png"}
