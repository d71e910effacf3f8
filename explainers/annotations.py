"""Object masks from the files that annotation programs write: LabelMe and COCO.

Coordinates are continuous: the pixel in row 0 and column 0 covers [0, 1] × [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput, MissingAsset

__all__ = ["CocoMasks", "fill_polygons", "read_coco", "read_labelme", "run_lengths_to_mask"]

_LABELME_SHAPES = "polygon, rectangle or circle"


def fill_polygons(
    polygons: Iterable[Sequence[Sequence[float]]],
    shape: tuple[int, int],
    holes: Iterable[Sequence[Sequence[float]]] = (),
) -> NDArray[np.bool_]:
    """Pixels whose centre lies in one of the polygons and in no hole.

    Args:
        polygons: each a list of at least three (x, y); parts outside of the picture are cut off.
        shape: (H, W).
    """
    from skimage.draw import polygon2mask

    def inside(points: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
        corners = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        filled: NDArray[np.bool_] = polygon2mask(shape, corners[:, ::-1] - 0.5)
        return filled

    mask = np.zeros(shape, dtype=bool)
    for points in polygons:
        mask |= inside(points)
    for points in holes:
        mask &= ~inside(points)
    return mask


def read_labelme(path: Path) -> NDArray[np.bool_]:
    """All shapes of a LabelMe file as one mask.

    Returns:
        (imageHeight, imageWidth) bool.

    Raises:
        InvalidInput: no LabelMe file, or a shape without an area (a line, a point).
    """
    document = _json(path, "a LabelMe file")
    try:
        height, width = int(document["imageHeight"]), int(document["imageWidth"])
        shapes = document["shapes"]
        mask = np.zeros((height, width), dtype=bool)
        for drawn in shapes:
            mask |= _labelme_shape(drawn, (height, width), path)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{path} is no LabelMe file with imageHeight, imageWidth and shapes of points "
            f"({type(error).__name__}: {error}): save it with LabelMe again"
        ) from error
    return mask


def _labelme_shape(
    drawn: Mapping[str, Any], shape: tuple[int, int], path: Path
) -> NDArray[np.bool_]:
    kind, points = drawn.get("shape_type") or "polygon", drawn["points"]
    if kind == "polygon":
        return fill_polygons([points], shape)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return fill_polygons([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], shape)
    if kind == "circle":
        (x0, y0), (x1, y1) = points
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        distances = np.hypot(columns - x0, rows - y0)
        inside: NDArray[np.bool_] = distances <= np.hypot(x1 - x0, y1 - y0)
        return inside
    raise InvalidInput(f"{path} has a shape of type '{kind}': only {_LABELME_SHAPES} has an area")


@dataclass(frozen=True)
class CocoMasks:
    """Masks by image of a COCO file of object instances.

    Attributes:
        sizes: (height, width) by file name, without folders.
        annotations: (category, segmentation) by file name.
    """

    path: Path
    sizes: Mapping[str, tuple[int, int]]
    annotations: Mapping[str, Sequence[tuple[str, Any]]]

    def mask(self, file_name: str, category: str | None = None) -> NDArray[np.bool_]:
        """All objects of an image, or those of the category where the image has any.

        Args:
            file_name: of the photograph; folders and the suffix do not matter.

        Returns:
            (H, W) bool of the photograph's size.

        Raises:
            MissingAsset: the file knows no such image.
            InvalidInput: a segmentation cannot be read.
        """
        stem = PurePosixPath(file_name).stem
        name = next((n for n in self.sizes if PurePosixPath(n).stem == stem), None)
        if name is None:
            raise MissingAsset(f"{self.path} has no image '{file_name}': add it, or leave it out")
        drawn = self.annotations.get(name, ())
        of_category = [s for c, s in drawn if category and c.lower() == category.lower()]
        mask = np.zeros(self.sizes[name], dtype=bool)
        for segmentation in of_category or [s for _, s in drawn]:
            try:
                mask |= _coco_segmentation(segmentation, self.sizes[name])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise InvalidInput(
                    f"{self.path} has a segmentation of '{file_name}' that is neither a list of "
                    f"polygons nor run lengths ({type(error).__name__}: {error})"
                ) from error
        return mask


def read_coco(path: Path) -> CocoMasks:
    """A COCO file: ``images``, ``annotations`` with ``segmentation``, ``categories``.

    Raises:
        InvalidInput: not such a file.
    """
    document = _json(path, "a COCO file")
    try:
        names = {c["id"]: str(c["name"]) for c in document.get("categories", ())}
        files = {i["id"]: str(i["file_name"]) for i in document["images"]}
        sizes = {
            str(i["file_name"]): (int(i["height"]), int(i["width"])) for i in document["images"]
        }
        annotations: dict[str, list[tuple[str, Any]]] = {}
        for entry in document["annotations"]:
            category = names.get(entry.get("category_id"), "")
            pair = (category, entry["segmentation"])
            annotations.setdefault(files[entry["image_id"]], []).append(pair)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"{path} is no COCO file with images and annotations "
            f"({type(error).__name__}: {error}): export it as COCO instances again"
        ) from error
    return CocoMasks(path, sizes, annotations)


def _json(path: Path, what: str) -> Any:
    if not path.is_file():
        raise MissingAsset(f"{path} does not exist: give {what}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"{path} is not {what}: it is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} is not {what}: it holds a {type(document).__name__}")
    return document


def _coco_segmentation(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        return fill_polygons([np.reshape(flat, (-1, 2)).tolist() for flat in segmentation], shape)
    counts, size = segmentation["counts"], tuple(segmentation["size"])
    if size != shape:
        raise ValueError(f"run lengths for {size}, the image is {shape}")
    return run_lengths_to_mask(_decoded(counts) if isinstance(counts, str) else counts, shape)


def run_lengths_to_mask(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Alternating runs of background and object, down the columns, background first.

    Raises:
        ValueError: the runs do not add up to the picture.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != shape[0] * shape[1]:
        raise ValueError(f"runs do not add up to {shape[0]} × {shape[1]} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(shape, order="F")


def _decoded(text: str) -> list[int]:
    """COCO's compressed run lengths: numbers of six-bit characters from "0" on, five bits each,
    the sixth says that more follow, the last one's fifth is the sign; from the fourth number on,
    the difference to the last but one before."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} in compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return counts
