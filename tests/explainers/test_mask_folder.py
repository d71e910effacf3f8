"""Which file is the mask of a photograph."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from explainers.errors import InvalidInput, MissingAsset
from explainers.references import MaskFolder

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
