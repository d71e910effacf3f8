"""The catalogue of photographs that installed packages contain."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explainers.classifiers import load_classifier
from explainers.errors import InvalidImage, MissingAsset
from explainers.images import Geometry
from explainers.references import Photograph, load_mask
from studies.catalog import load_catalog, packaged
from studies.catalog.assets import find_file, find_local_file, load_study_image

CATALOG = load_catalog("photos")
# Share of what the network sees that its object covers, looked at with the outline over it.
SHARES = {"chelsea": 0.94, "coffee": 0.41, "china": 0.41}


def test_every_photograph_says_where_it_is_from() -> None:
    assert list(CATALOG.keys) == list(SHARES)
    assert CATALOG.model == "efficientnet_lite0"
    for entry in CATALOG.images:
        assert entry.package is not None
        name, _, version = entry.package.partition("==")
        assert name in {"scikit-image", "scikit-learn"}
        assert version
        assert entry.author
        assert entry.licence in {"CC0", "CC BY 2.0"}
        assert entry.source
        assert entry.sha256
        found = find_local_file(CATALOG, entry)
        assert found is not None
        assert metadata.distribution(name).locate_file(str(entry.file)) == found
        assert find_file(CATALOG, entry) == found  # raises if it has been changed


@pytest.fixture
def other_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of a package that has only this folder in the place of its own."""
    spec = ModuleSpec("skimage", None, origin=str(tmp_path / "skimage" / "__init__.py"))
    monkeypatch.setattr(packaged, "find_spec", lambda module: spec)
    (tmp_path / "skimage" / "data").mkdir(parents=True)
    return tmp_path


def test_a_release_without_the_file_is_one_line_with_the_one_that_has_it(
    other_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CATALOG.images[1]
    installed = metadata.version("scikit-image")
    expected = (
        rf"coffee: skimage/data/coffee\.png does not exist: scikit-image {installed} is installed "
        r"without it; pip install scikit-image==0\.25\.2, which has it"
    )
    with pytest.raises(MissingAsset, match=expected):
        find_file(CATALOG, entry)
    monkeypatch.setattr(packaged, "find_spec", lambda module: None)
    with pytest.raises(MissingAsset, match="nobody-has-this is not installed"):
        find_file(CATALOG, replace(entry, package="nobody-has-this==1.0"))
    with pytest.raises(MissingAsset, match="does not exist"):
        find_file(CATALOG, replace(entry, file="../coffee.png"))


def test_another_picture_in_the_package_is_refused(other_release: Path) -> None:
    Image.new("RGB", (60, 40)).save(other_release / "skimage" / "data" / "coffee.png")
    with pytest.raises(InvalidImage, match=r"sha256.*pip install scikit-image==0\.25\.2"):
        load_study_image(CATALOG, CATALOG.images[1], Geometry(256, 224))


def test_a_folder_of_that_name_here_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    file = find_local_file(CATALOG, CATALOG.images[0])
    assert file is not None
    shutil.copy(file, tmp_path / "photos" / "mine.png")
    assert load_catalog("photos").keys == CATALOG.keys
    assert "for that give ./photos" in caplog.text
    caplog.clear()
    assert load_catalog("./photos").keys == load_catalog("photos/").keys == ("mine",)
    assert caplog.text == ""


def test_the_network_sees_the_object_that_is_drawn(caplog: pytest.LogCaptureFixture) -> None:
    classifier = load_classifier("efficientnet_lite0", device="cpu")
    images = [load_study_image(CATALOG, e, classifier.geometry) for e in CATALOG.images]
    answers = classifier.predict_proba(np.stack([image.pixels for image in images]))
    assert CATALOG.folder is not None
    for image, answer in zip(images, answers, strict=True):
        likeliest = np.argsort(answer)[::-1][:5]
        entry = image.entry
        assert entry.class_name in {classifier.class_name(int(index)) for index in likeliest}
        photograph = Photograph(image.key, image.geometry, image.size, image.path, entry.class_name)
        mask = load_mask(CATALOG.folder / str(entry.mask), photograph).mask
        assert mask.mean() == pytest.approx(SHARES[image.key], abs=0.02)
    assert caplog.text == ""  # nothing had to be decided about the masks
