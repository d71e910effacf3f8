"""Files of annotation programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from explainers.annotations import fill_polygons, read_coco, read_labelme, run_lengths_to_mask
from explainers.errors import InvalidInput, MissingAsset

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
    holed = fill_polygons(
        [[(-5, -5), (9, -5), (9, 9), (-5, 9)]], (4, 6), [[(0, 0), (1, 0), (1, 1), (0, 1)]]
    )
    assert not holed[0, 0] and holed.sum() == 23


@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(run_lengths_to_mask(_run_lengths(mask), mask.shape), mask)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_compressed_run_lengths_of_a_coco_file(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_]
) -> None:
    document = _coco({"counts": _compressed(_run_lengths(mask)), "size": list(mask.shape)})
    document["images"][0].update(height=mask.shape[0], width=mask.shape[1])
    path = _write(tmp_path_factory.mktemp("coco") / "all.json", document)
    assert np.array_equal(read_coco(path).mask("a.jpg"), mask)


def test_coco_category(tmp_path: Path) -> None:
    left, right = [0, 0, 2, 0, 2, 4, 0, 4], [4, 0, 6, 0, 6, 4, 4, 4]
    document = _coco([left], category_id=1)
    document["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    document["annotations"].append({"image_id": 1, "segmentation": [right], "category_id": 2})
    masks = read_coco(_write(tmp_path / "all.json", document))
    assert masks.mask("a.png", "Dog")[0].tolist() == [False] * 4 + [True] * 2
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


@pytest.mark.parametrize(
    "document",
    [
        "{", "[]", {}, {"shapes": []},
        _labelme({"points": [[1, 1]], "shape_type": "point"}),
        _labelme({"label": "x"}),
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
    ],
)  # fmt: skip
def test_segmentations_that_are_none(segmentation: Any, tmp_path: Path) -> None:
    masks = read_coco(_write(tmp_path / "all.json", _coco(segmentation)))
    with pytest.raises(InvalidInput, match=r"all\.json.*a\.jpg"):
        masks.mask("a.jpg")


@pytest.mark.parametrize(
    "document", ["", "[]", {}, {"images": [{}]}, {"images": [], "annotations": [{}]}]
)
def test_files_that_are_no_coco(document: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"all\.json"):
        read_coco(_write(tmp_path / "all.json", document))
