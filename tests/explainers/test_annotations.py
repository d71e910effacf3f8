"""Files of annotation programs."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput, MissingAsset
from explainers.references import fill_polygons, read_coco, read_labelme, run_lengths_to_mask

_SIZES = {"width": 6, "height": 4}


def _write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Counted pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = bool(pixel)
        counts[-1] += 1
    return counts


def _compressed(counts: list[int]) -> str:
    """The packing of COCO's run lengths, written from its description."""
    text = ""
    for number, count in enumerate(counts):
        rest = count - counts[number - 2] if number > 2 else count
        while True:
            bits = rest & 31
            rest >>= 5
            last = rest == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if last else bits | 32))
            if last:
                break
    return text


def _coco(segmentation: Any, **more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", **_SIZES}],
        "annotations": [{"image_id": 1, "segmentation": segmentation, **more}],
    }


def _labelme(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {"imageWidth": 6, "imageHeight": 4, "shapes": list(shapes)}


def test_polygons_cover_the_pixels_whose_centre_they_hold() -> None:
    mask = fill_polygons([[(1, 1), (4, 1), (4, 3), (1, 3)]], (4, 6))
    expected = np.zeros((4, 6), bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(mask, expected)
    assert fill_polygons([[(-5, -5), (9, -5), (9, 9), (-5, 9)]], (4, 6)).all()


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(run_lengths_to_mask(_run_lengths(mask), mask.shape), mask)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_compressed_run_lengths_of_a_coco_file(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_]
) -> None:
    document = _coco({"counts": _compressed(_run_lengths(mask)), "size": list(mask.shape)})
    document["images"][0].update(height=mask.shape[0], width=mask.shape[1])
    path = _write(tmp_path_factory.getbasetemp() / "all.json", document)
    assert np.array_equal(read_coco(path).mask("a.jpg"), mask)


def test_coco_category(tmp_path: Path) -> None:
    left, right = [0, 0, 2, 0, 2, 4, 0, 4], [4, 0, 6, 0, 6, 4, 4, 4]
    document = _coco([left], category_id=1)
    document["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    document["annotations"].append({"image_id": 1, "segmentation": [right], "category_id": 2})
    masks = read_coco(_write(tmp_path / "all.json", document))
    assert masks.mask("a.png", "Dog")[0].tolist() == [False] * 4 + [True] * 2
    assert np.array_equal(masks.mask("a.png", "dog, Canis familiaris"), masks.mask("a.png", "dog"))
    assert masks.mask("a.png")[0].tolist() == [True] * 2 + [False] * 2 + [True] * 2
    assert np.array_equal(masks.mask("a.png", "bird"), masks.mask("a.png"))
    with pytest.raises(MissingAsset, match=r"b\.jpg"):
        masks.mask("b.jpg")


@pytest.mark.parametrize(
    ("kind", "points", "pixels"),
    [
        ("polygon", [[1, 1], [3, 1], [3, 3], [1, 3]], 4),
        ("rectangle", [[3, 3], [1, 1]], 4),
        ("circle", [[3, 2], [4.2, 2]], 4),
    ],
)
def test_labelme_shapes(kind: str, points: Any, pixels: int, tmp_path: Path) -> None:
    document = _labelme({"label": "x", "points": points, "shape_type": kind})
    mask = read_labelme(_write(tmp_path / "a.json", document))
    assert mask.shape == (4, 6)
    assert mask.sum() == pixels


_SQUARE = [[1, 1], [3, 1], [3, 3], [1, 3]]
_CORNER = np.zeros((4, 6), bool)
_CORNER[1:3, 1:3] = True
_CAT = {"label": "cat", "points": _SQUARE, "shape_type": "polygon"}
_DOG = {"label": "dog", "points": [[4, 0], [6, 0], [6, 4], [4, 4]], "shape_type": "polygon"}
_POINT = {"label": "eye", "points": [[1, 1]], "shape_type": "point"}
_HOLE = {**_CAT, "label": "_background_", "points": [[1, 1], [2, 1], [2, 2], [1, 2]]}


def _png(mask: NDArray[np.bool_]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


_MASK = {
    "label": "cat", "points": [[1, 1], [2, 2]], "shape_type": "mask",
    "mask": _png(np.ones((2, 2), bool)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("shapes", "pixels", "message"),
    [
        ([{**_CAT, "shape_type": "rectangle"}], 4, ""),
        ([{**_CAT, "shape_type": None, "group_id": 3}], 4, ""),
        ([{**_CAT, "shape_type": "oriented_rectangle"}], 4, ""),
        ([{**_CAT, "points": [["1", "1"], ["3", "1"], ["3", "3"], ["1", "3"]]}], 4, ""),
        ([_CAT, _POINT, {**_POINT, "shape_type": "linestrip"}], 4, "2: point, linestrip"),
        ([_CAT, {**_CAT, "points": [[1, 1], [5, 3]]}], 4, "1: line"),
        ([_MASK], 4, ""),
        ([{**_MASK, "points": [[5, 3], [6, 4]]}], 1, ""),
        ([_CAT, _DOG], 12, "cat, dog"),
        ([_CAT, _HOLE], 3, ""),
        ([_HOLE, _CAT], 4, ""),
        ([_CAT, {**_DOG, "label": "__ignore__"}], 4, ""),
    ],
)
def test_labelme_files_of_real_people(
    shapes: Any, pixels: int, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = read_labelme(_write(tmp_path / "a.json", _labelme(*shapes)))
    assert mask.sum() == pixels
    assert message in caplog.text if message else caplog.text == ""


def test_labelme_shapes_of_the_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _write(tmp_path / "a.json", _labelme(_CAT, _DOG))
    assert np.array_equal(read_labelme(path, class_name="Cat"), _CORNER)
    assert read_labelme(path, class_name="dog").sum() == 8
    assert caplog.text == ""
    assert read_labelme(path, class_name="bird").sum() == 12
    assert "cat, dog" in caplog.text
    caplog.clear()
    named = [{**_CAT, "label": "golden_retriever"}, _DOG]
    path = _write(tmp_path / "a.json", _labelme(*named))
    assert np.array_equal(read_labelme(path, class_name="golden retriever"), _CORNER)
    path = _write(tmp_path / "a.json", _labelme(_CAT))
    assert np.array_equal(read_labelme(path, class_name="281"), _CORNER)
    assert caplog.text == ""
    assert np.array_equal(read_labelme(path, class_name="tiger cat"), _CORNER)
    assert "a.json (cat, not tiger cat)" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_labelme_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    document = json.dumps(_labelme({**_CAT, "label": "猫"}), ensure_ascii=False)
    (tmp_path / "a.json").write_bytes(document.encode(encoding))
    assert np.array_equal(read_labelme(tmp_path / "a.json"), _CORNER)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"imageHeight": None, "imageWidth": None, "imageData": None}, ""),
        ({"imageHeight": "4", "imageWidth": "6"}, ""),
        ({"imageHeight": 4.0, "imageWidth": 6.0, "imagePath": "..\\photos\\A.PNG"}, ""),
        ({"imagePath": "C:\\old\\b.png"}, "a.json (b.png)"),
    ],
)
def test_what_labelme_says_about_its_photograph(
    more: Any, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path / "a.json", _labelme(_CAT) | more)
    assert np.array_equal(read_labelme(path, photograph=(6, 4)), _CORNER)
    assert message in caplog.text if message else caplog.text == ""


@pytest.mark.parametrize(
    "document",
    [
        "{", "[]", {}, {"shapes": []}, {"shapes": {"a": 1}}, "[" * 100_000,
        _labelme(_POINT), _labelme({**_CAT, "shape_type": "cuboid"}),
        _labelme({"label": "x"}),
        _labelme({**_CAT, "points": [[1, float("nan")], [3, 1], [3, 3]]}),
        _labelme({**_CAT, "points": [[1, 1, 0], [3, 1, 0], [3, 3, 0], [1, 3, 0]]}),
        _labelme({**_MASK, "mask": None}), _labelme({**_MASK, "mask": "AAAA"}),
        _labelme({**_MASK, "points": [[0, 0], [5, 3]]}),
        _labelme(_CAT) | {"imageHeight": 0}, _labelme(_CAT) | {"imageWidth": float("nan")},
        {"size": {}, "objects": []}, {"_via_settings": {}}, {"images": [], "annotations": []},
    ],
)  # fmt: skip
def test_files_that_are_no_labelme(document: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.json"):
        read_labelme(_write(tmp_path / "a.json", document))


@pytest.mark.parametrize(
    "segmentation",
    [
        {"counts": [3, 4], "size": [4, 6]}, {"counts": [24], "size": [6, 4]}, {"counts": "~~"},
        {"counts": "o", "size": [4, 6]}, {"counts": "\t", "size": [4, 6]}, [[1, 2, 3]], 7,
        {"counts": [10**30], "size": [4, 6]}, {"counts": [.5, 23.5], "size": [4, 6]},
        [[[1, 1, 2], [3, 1, 2], [3, 3, 2], [1, 3, 2]]],
        {"counts": "b'0", "size": [4, 6]}, [[float("nan")] * 6], [["a"] * 6], "polygon",
    ],
)  # fmt: skip
def test_segmentations_that_are_none(segmentation: Any, tmp_path: Path) -> None:
    masks = read_coco(_write(tmp_path / "all.json", _coco(segmentation)))
    with pytest.raises(InvalidInput, match=r"all\.json.*a\.jpg"):
        masks.mask("a.jpg")


_FLAT = [1, 1, 3, 1, 3, 3, 1, 3]
_FAR = [4, 0, 6, 0, 6, 4, 4, 4]


@pytest.mark.parametrize(
    ("segmentation", "pixels"),
    [
        (_FLAT, 4),  # one polygon, not in a list
        ([[1, 1], [3, 1], [3, 3], [1, 3]], 4),  # one polygon of pairs
        ([_FLAT, [1, 2, 3, 4]], 4),  # a sliver without an area
        ([_FLAT, _FAR], 12),
        ([{"counts": [4, 4, 16], "size": [4, 6]}, {"counts": [20, 4], "size": [4, 6]}], 8),
        ({"counts": str(_compressed([4, 4, 16]).encode()), "size": [4, 6]}, 4),
    ],
)
def test_segmentations_of_real_files(segmentation: Any, pixels: int, tmp_path: Path) -> None:
    masks = read_coco(_write(tmp_path / "all.json", _coco(segmentation)))
    assert masks.mask("a.jpg").sum() == pixels


@pytest.mark.parametrize("segmentation", [[], None, {}, [[1, 2, 3, 4]]])
def test_objects_without_an_outline(
    segmentation: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = _coco(segmentation, bbox=[1, 1, 2, 2])
    with pytest.raises(InvalidInput, match=r"'a\.jpg' has no outlines, boxes at most"):
        read_coco(_write(tmp_path / "all.json", document)).mask("a.jpg")
    document["annotations"].append({"image_id": 1, "segmentation": [_FLAT]})
    assert read_coco(_write(tmp_path / "all.json", document)).mask("a.jpg").sum() == 4
    assert "1 of 2" in caplog.text


def test_crowds_are_no_objects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = _coco({"counts": [0, 24], "size": [4, 6]}, iscrowd=1)
    path = tmp_path / "all.json"
    assert read_coco(_write(path, document)).mask("a.jpg").all()
    assert "for want of single objects" in caplog.text
    document["annotations"].append({"image_id": 1, "segmentation": [_FLAT], "iscrowd": 0})
    assert read_coco(_write(path, document)).mask("a.jpg").sum() == 4
    assert "left out where there are single objects" in caplog.text


_NFC, _NFD = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (["a/cat.jpg", "b/cat.jpg"], "b/cat.jpg", 1),
        (["b/cat.jpg", "a/cat.jpg"], "/home/me/b/cat.jpg", 0),
        (["x/a/cat.jpg", "y/a/cat.jpg"], "/data/y/a/cat.png", 1),
        (["a\\cat.jpg", "b\\cat.jpg"], "b/cat.jpg", 1),
        (["..\\..\\media\\cat.jpg"], "cat.jpg", 0),
        (["cat.png", "cat.jpg"], "cat.jpg", 1),
        (["CAT.JPG", "dog.jpg"], "cat.jpg", 0),
        ([_NFD], _NFC, 0),
        ([_NFC], _NFD, 0),
    ],
)
def test_which_image_is_meant(names: list[str], asked: str, found: int, tmp_path: Path) -> None:
    document = {
        "images": [{"id": n, "file_name": name, **_SIZES} for n, name in enumerate(names)],
        "annotations": [
            {"image_id": str(n), "segmentation": [_FLAT if n == found else _FAR]}
            for n in range(len(names))
        ],
    }
    masks = read_coco(_write(tmp_path / "all.json", document))
    assert np.array_equal(masks.mask(asked), _CORNER)


def test_names_of_label_studio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """github.com/HumanSignal/label-studio/issues/7294"""
    names = ["..\\media\\upload\\4\\cb0618f6-my_Cat.png", "0a0a0a0a-dog.png", "fox.png"]
    images = [{"id": n, "file_name": name, **_SIZES} for n, name in enumerate(names)]
    shapes = [{"image_id": n, "segmentation": [_FLAT]} for n in range(3)]
    path = _write(tmp_path / "all.json", {"images": images, "annotations": shapes})
    masks = read_coco(path)
    for name in ("fox.jpg", "0a0a0a0a-dog.png"):
        assert np.array_equal(masks.mask(name), _CORNER)
    assert caplog.text == ""
    assert np.array_equal(masks.mask("photos/my cat.jpg"), _CORNER)
    assert "Label Studio" in caplog.text
    images.append({"id": 4, "file_name": "11111111-dog.png", **_SIZES})
    with pytest.raises(InvalidInput, match=r"several images 'dog\.png'"):
        read_coco(_write(path, {"images": images, "annotations": []})).mask("dog.png")
    with pytest.raises(MissingAsset):
        read_coco(path).mask("cat.png")


def test_images_that_cannot_be_told_apart(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}/a.jpg", **_SIZES} for n in range(2)]
    document = {"images": images, "annotations": []}
    masks = read_coco(_write(tmp_path / "all.json", document))
    with pytest.raises(InvalidInput, match=r"several images 'a\.jpg' \(0/a\.jpg, 1/a\.jpg\)"):
        masks.mask("a.jpg")
    with pytest.raises(MissingAsset, match=r"no image 'b\.jpg' \(it has 2: 0/a\.jpg"):
        masks.mask("b.jpg")
    for wrong in (
        [images[0], {**images[1], "id": 0}],
        [images[0], {**images[1], "file_name": "0/a.jpg", "width": 7}],
    ):
        with pytest.raises(InvalidInput, match=r"all\.json has the image"):
            read_coco(_write(tmp_path / "all.json", {"images": wrong, "annotations": []}))
    twice = {"images": [images[0]] * 2, "annotations": []}
    assert not read_coco(_write(tmp_path / "all.json", twice)).mask("a.jpg").any()


def test_annotations_of_unknown_images_and_unknown_sizes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = _coco([_FLAT])
    del document["images"][0]["width"], document["images"][0]["height"]
    document["annotations"].append({"image_id": 9, "segmentation": [_FAR]})
    masks = read_coco(_write(tmp_path / "all.json", document))
    assert "left out: 1" in caplog.text
    assert np.array_equal(masks.mask("a.jpg", photograph=(6, 4)), _CORNER)
    with pytest.raises(InvalidInput, match="no height and width"):
        masks.mask("a.jpg")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (_coco([]) | {"annotations": [{"image_id": 1, "caption": "a cat"}]}, "captions"),
        (_coco([]) | {"annotations": [{"image_id": 1, "segments_info": []}]}, "panoptic"),
        (_coco([]) | {"annotations": [{"image_id": 1, "keypoints": []}]}, "key points"),
        ({"shapes": [], "imagePath": "a.jpg"}, "LabelMe"),
        ({"_via_img_metadata": {}}, "VGG Image Annotator"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator"),
        ({"size": {"height": 4, "width": 6}, "objects": []}, "Supervisely"),
        ({"image": {"image_id": 1}, "annotations": []}, "a single picture"),
        ('[{"image_id": 1, "segmentation": []}]', "results"),
        ('[{"id": 1, "annotations": []}]', "Label Studio"),
    ],
)
def test_other_files_are_named(document: Any, kind: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"all\.json is .*{kind}"):
        read_coco(_write(tmp_path / "all.json", document))


@pytest.mark.parametrize(
    "document",
    ["", "[]", {}, {"images": [{}]}, {"images": [], "annotations": [{}]},
     {"images": {"1": "a.jpg"}, "annotations": []}, _coco([]) | {"annotations": None}],
)  # fmt: skip
def test_files_that_are_no_coco(document: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"all\.json"):
        read_coco(_write(tmp_path / "all.json", document))
