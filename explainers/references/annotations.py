"""Shared parts of the readers of annotation files: JSON, polygons, labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from explainers.classifiers import same_name
from explainers.errors import InvalidInput, MissingAsset
from explainers.messages import shortened
from explainers.references.decisions import MaskSource

_LABELME = "a LabelMe file, of one photograph: give the folder that it lies in"
_COCO = "a COCO file, of many photographs: give the file itself with --reference"


def chosen_labels(
    labels: Iterable[str], class_name: str | None, source: MaskSource, drawn: str, label: str
) -> set[str]:
    """The labels whose areas are the object: those of the class where there are any, else all.

    Args:
        labels: of all areas.
        class_name: what the photograph shows, when known.
        drawn, label: the program's words for areas and for their names, e.g. ``"shapes"`` and
            ``"label"``; for messages.
    """
    found = set(labels)
    wanted = {each for each in found if class_name and same_name(each, class_name)}
    if wanted:
        return wanted
    if len(found) > 1:
        plural = f"{label.removesuffix('y')}ies" if label.endswith("y") else f"{label}s"
        source.record(
            f"{drawn} of several {plural} together are taken as the object",
            shortened(sorted(found), 4),
        )
    elif class_name and any(found) and not class_name.isdecimal():
        source.record(
            f"{drawn} of another {label} than the class are taken as the object",
            f"{next(iter(found))}, not {class_name}",
        )
    return found


def read_json(path: Path, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a file, in any Unicode encoding.

    Args:
        what: the expected kind of file for messages, e.g. ``a COCO file``.
        keys: that the object must have.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it is no JSON, or lacks a key.
    """
    if not path.is_file():
        raise MissingAsset(f"{path} does not exist: give {what}")
    try:
        document = json.loads(path.read_bytes())  # detects UTF-8, -16 and -32
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not {what}: it is no JSON ({error})") from error
    if isinstance(document, dict) and all(key in document for key in keys):
        return document
    raise InvalidInput(f"{path} is not {what}, but {_kind(document)}")


def side_length(value: Any) -> int:
    """A width or height in pixels from a number or a text.

    Raises:
        ValueError, TypeError, OverflowError: it is no whole number of at least 1.
    """
    length = float(value)
    if isinstance(value, bool) or length != int(length) or length < 1:
        raise ValueError(f"{value!r} is no number of pixels")
    return int(length)


def _kind(document: Any) -> str:
    """The probable kind of a document, with advice, for a message."""
    export = "export it as COCO with polygons or run lengths"
    if isinstance(document, list):
        entries = [each for each in document if isinstance(each, Mapping)]
        if entries and "image_id" in entries[0]:
            return f"a list of results without images and categories: {export}"
        return f"a list of {len(document)} entries (Label Studio, VIA?): {export}"
    if not isinstance(document, Mapping):
        return f"a {type(document).__name__}"
    if "shapes" in document:
        return _LABELME
    if "images" in document and "annotations" in document:
        return _COCO
    values = list(document.values())
    if any(str(key).startswith("_via") for key in document) or (
        values and all(isinstance(each, Mapping) and "regions" in each for each in values)
    ):
        return f"one of the VGG Image Annotator: {export}"
    if "objects" in document and "size" in document:
        return f"one of Supervisely: {export}"
    if "annotations" in document and ("image" in document or "item" in document):
        return f"annotations of a single picture in another form: {export}"
    keys = ", ".join(repr(str(key)) for key in list(document)[:5]) or "nothing"
    return f"a document with {keys}: {export}"


def fill_polygons(
    polygons: Iterable[Sequence[Sequence[float]] | NDArray[np.float64]], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """(H, W) bool: pixels whose centre lies in one of the polygons.

    Args:
        polygons: each a list of at least three (x, y); parts outside of the picture are cut off.
        shape: (H, W).
    """
    mask = np.zeros(shape, dtype=bool)
    for points in polygons:
        corners = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        mask |= polygon2mask(shape, corners[:, ::-1] - 0.5)
    return mask


def points_of(values: Any) -> NDArray[np.float64]:
    """Coordinates from a file, flat or in pairs, as (N, 2).

    Raises:
        ValueError, TypeError: they are no pairs of finite numbers.
    """
    points = np.asarray(values, dtype=np.float64)
    if points.ndim > 1 and points.shape[-1] not in (2, points.size):
        raise ValueError(f"{points.shape[-1]} coordinates a point are no pairs of x and y")
    if points.size % 2:
        raise ValueError(f"{points.size} coordinates are no pairs of x and y")
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is no number (NaN or infinite)")
    return points.reshape(-1, 2)
