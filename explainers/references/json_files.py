"""JSON files of annotation programs: reading them, and telling them apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput, MissingAsset

__all__ = ["read_json", "side_length"]

_LABELME = "a LabelMe file, of one photograph: give the folder that it lies in"
_COCO = "a COCO file, of many photographs: give the file itself with --reference"


def read_json(path: Path, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a file, in any Unicode encoding.

    Args:
        what: what it should be, e.g. ``a COCO file``.
        keys: what it must have.

    Raises:
        MissingAsset, InvalidInput: no such file, no JSON, or one of another program.
    """
    if not path.is_file():
        raise MissingAsset(f"{path} does not exist: give {what}")
    try:
        document = json.loads(path.read_bytes())  # finds out about UTF-8, -16, -32 and their marks
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not {what}: it is no JSON ({error})") from error
    if isinstance(document, dict) and all(key in document for key in keys):
        return document
    raise InvalidInput(f"{path} is not {what}, but {_kind(document)}")


def side_length(value: Any) -> int:
    """A width or height in pixels, also as text.

    Raises:
        ValueError, TypeError, OverflowError: it is none.
    """
    length = float(value)
    if isinstance(value, bool) or length != int(length) or length < 1:
        raise ValueError(f"{value!r} is no number of pixels")
    return int(length)


def _kind(document: Any) -> str:
    """What a document probably is, and what to do about it."""
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
