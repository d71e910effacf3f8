"""Masks of the user's own for a catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry
from studies.catalog import Catalog, load_catalog
from studies.catalog.assets import StudyImage, load_study_image
from tuner.problem.references import own_mask, own_masks

_GEOMETRY = Geometry(None, 24)
_MASK = np.zeros((24, 24), bool)
_MASK[4:16, 6:20] = True
_SQUARE = [[6, 4], [20, 4], [20, 16], [6, 16]]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, name in enumerate(("cat", "dog")):
        Image.new("RGB", (24, 24), (number, 90, 9)).save(folder / f"{name}.png")
    return folder


def _loaded(source: Path) -> tuple[Catalog, list[StudyImage]]:
    catalog = load_catalog(str(source))
    return catalog, [load_study_image(catalog, each, _GEOMETRY) for each in catalog.images]


def test_a_folder_of_labels_is_told_in_one_line(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("cat", "dog"):
        labels = np.where(_MASK, np.where(np.arange(24) < 12, 3, 4), 0)
        Image.fromarray(labels.astype(np.uint8)).save(masks / f"{name}.PNG")
    found = own_masks(*_loaded(photographs), str(masks))
    assert found is not None
    assert all(np.array_equal(each.mask, _MASK) for each in found.values())
    assert len(caplog.messages) == 1
    assert all(f"{name}.PNG (labels 3, 4)" in caplog.text for name in ("cat", "dog"))
    (masks / "dog.PNG").unlink()
    (masks / "cat.PNG").unlink()
    with pytest.raises(MissingAsset, match="no mask of 2 of 2 images"):
        own_masks(*_loaded(photographs), str(masks))


def test_labelme_files_beside_the_photographs(photographs: Path) -> None:
    for name in ("cat", "dog"):
        shapes = [{"label": name, "points": _SQUARE, "shape_type": "polygon"}]
        document = {"imageHeight": 24, "imageWidth": 24, "shapes": shapes}
        (photographs / f"{name}.json").write_text(json.dumps(document))
    found = own_masks(*_loaded(photographs), str(photographs))
    assert found is not None
    assert {key: Path(each.rule).name for key, each in found.items()} == {
        "cat": "cat.json", "dog": "dog.json",
    }  # fmt: skip
    assert np.array_equal(found["dog"].mask, _MASK)


def test_a_coco_file_for_the_class_of_the_catalogue(photographs: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('[[image]]\nfile = "photographs/cat.png"\nclass_name = "Cat"\n')
    polygon = [value for point in _SQUARE for value in point]
    document = {
        "images": [{"id": 1, "file_name": "train\\cat.jpg", "height": 24, "width": 24}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "sofa"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [polygon]},
            {"image_id": 1, "category_id": 2, "segmentation": [[0, 0, 24, 0, 24, 24, 0, 24]]},
        ],
    }
    (tmp_path / "all.JSON").write_text(json.dumps(document))
    found = own_masks(*_loaded(catalog), str(tmp_path / "all.JSON"))
    assert found is not None
    assert np.array_equal(found["cat"].mask, _MASK)
    (tmp_path / "cat.jpg").write_bytes((photographs / "cat.png").read_bytes())
    catalog.write_text(catalog.read_text() + '[[image]]\nkey = "other"\nfile = "cat.jpg"\n')
    with pytest.raises(InvalidInput, match="for both 'cat' and 'other'"):
        own_masks(*_loaded(catalog), str(tmp_path / "all.JSON"))


def test_masks_that_the_catalogue_names(photographs: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cat.npy", _MASK)
    catalog = tmp_path / "catalog.toml"
    entry = '[[image]]\nfile = "photographs/cat.png"\n'
    catalog.write_text(entry + 'mask = "cat.npy"\n')
    loaded, images = _loaded(catalog)
    assert np.array_equal(own_mask(loaded, images[0]).mask, _MASK)
    assert own_mask(loaded, images[0]).rule == "masks"
    catalog.write_text(entry + 'mask = "photographs/cat.png"\n')
    with pytest.raises(InvalidInput, match="the photograph itself"):
        own_masks(*_loaded(catalog), "masks")
    catalog.write_text(entry)
    with pytest.raises(InvalidInput, match="brings no mask of 'cat'"):
        own_masks(*_loaded(catalog), "masks")
    assert own_masks(*_loaded(catalog), "gradcam@0.3") is None
