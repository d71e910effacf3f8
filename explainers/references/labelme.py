"""LabelMe: one JSON file beside each photograph."""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput
from explainers.messages import shortened
from explainers.references.annotations import (
    chosen_labels,
    fill_polygons,
    points_of,
    read_json,
    side_length,
)
from explainers.references.decisions import Decisions, MaskSource, mask_source

_POLYGONS = ("polygon", "quadrilateral", "rotation", "oriented_rectangle")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_NOT_THE_OBJECT = ("background", "ignore")
_BROKEN = (KeyError, TypeError, ValueError, OverflowError, AttributeError)


def read_labelme(
    path: Path,
    *,
    photograph: tuple[int, int] | None = None,
    class_name: str | None = None,
    fits: Callable[[tuple[int, int]], None] = lambda shape: None,
    decisions: Decisions | None = None,
) -> NDArray[np.bool_]:
    """The shapes of a LabelMe file as one mask, painted in their order.

    Shapes of the class are the object where there are any, all others otherwise. ``_background_``
    and ``__ignore__`` take away, as in LabelMe's own exports. Lines and points have no area.

    Args:
        photograph: (width, height) where the file does not say it.
        class_name: what the photograph shows, when known.
        fits: raises for an (H, W) that cannot be used, before anything is drawn.
        decisions: collects what was decided; logged at the end of the call by default.

    Returns:
        (imageHeight, imageWidth) bool.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it is no LabelMe file, or nothing in it has an area.
    """
    document = read_json(path, "a LabelMe file", ("shapes",))
    with mask_source(str(path), decisions) as source:
        try:
            shape = _size(document, photograph)
            fits(shape)
            _record_other_photograph(document, path, source)
            return _painted(document["shapes"], shape, class_name, source)
        except _BROKEN as error:
            raise InvalidInput(
                f"{path} is no LabelMe file with imageHeight, imageWidth and shapes of points "
                f"({type(error).__name__}: {error}): save it with LabelMe again"
            ) from error


def _size(document: Mapping[str, Any], photograph: tuple[int, int] | None) -> tuple[int, int]:
    height, width = document.get("imageHeight"), document.get("imageWidth")
    if height is None and width is None and photograph is not None:
        width, height = photograph
    return side_length(height), side_length(width)


def _painted(
    shapes: Sequence[Mapping[str, Any]],
    shape: tuple[int, int],
    class_name: str | None,
    source: MaskSource,
) -> NDArray[np.bool_]:
    flat = [kind for each in shapes if (kind := _kind(each)) in _WITHOUT_AREA]
    drawn = [each for each in shapes if _kind(each) not in _WITHOUT_AREA]
    if flat and not drawn:
        raise source.error(
            f"has only shapes without an area ({', '.join(sorted(set(flat)))}): draw the object "
            "with polygon, rectangle, circle or mask"
        )
    if flat:
        source.record("shapes without an area are left out", f"{len(flat)}: {shortened(flat)}")
    labels = {_plain(each.get("label")) for each in drawn} - set(_NOT_THE_OBJECT)
    wanted = chosen_labels(labels, class_name, source, "shapes", "label")
    mask = np.zeros(shape, dtype=bool)
    for each in drawn:
        label = _plain(each.get("label"))
        if label in wanted:
            mask |= _area(each, shape, source)
        elif label in _NOT_THE_OBJECT:
            mask &= ~_area(each, shape, source)
    return mask


def _kind(drawn: Mapping[str, Any]) -> str:
    """The type of a shape; a polygon of one or two points is a point or a line."""
    kind = str(drawn.get("shape_type") or "polygon").lower()
    if kind in _POLYGONS and len(drawn["points"]) < 3:
        return "line"
    return kind


def _area(
    drawn: Mapping[str, Any], shape: tuple[int, int], source: MaskSource
) -> NDArray[np.bool_]:
    """(H, W) bool area of a shape."""
    kind, points = _kind(drawn), points_of(drawn["points"])
    if kind == "mask":
        return _pasted(drawn["mask"], points, shape)
    if kind in _POLYGONS or (kind == "rectangle" and len(points) == 4):
        return fill_polygons([points], shape)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return fill_polygons([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], shape)
    if kind == "circle":
        (x0, y0), (x1, y1) = points
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        distances = np.hypot(columns - x0, rows - y0)
        return np.asarray(distances <= np.hypot(x1 - x0, y1 - y0))
    raise source.error(
        f"has a shape of type '{kind}': polygon, rectangle, circle and mask are understood"
    )


def _pasted(text: str, points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool from a mask, a base64 PNG, in the rectangle of two points, both included."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            part = np.asarray(picture.convert("L")) > 0
    except (OSError, SyntaxError, TypeError, Image.DecompressionBombError) as error:
        raise ValueError("a shape of type 'mask' without a picture in base64") from error
    (x0, y0), (x1, y1) = np.rint([points.min(axis=0), points.max(axis=0)]).astype(int)
    if abs(y1 - y0 + 1 - part.shape[0]) > 1 or abs(x1 - x0 + 1 - part.shape[1]) > 1:
        raise ValueError(f"a mask of {part.shape[::-1]} between {(x0, y0)} and {(x1, y1)}")
    mask = np.zeros(shape, dtype=bool)
    top, left = max(y0, 0), max(x0, 0)
    seen = part[top - y0 : max(shape[0] - y0, 0), left - x0 : max(shape[1] - x0, 0)]
    mask[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return mask


def _plain(label: Any) -> str:
    """A label for comparison: ``_background_`` and ``Background`` are the same."""
    text = unicodedata.normalize("NFC", "" if label is None else str(label))
    return text.strip().strip("_").casefold()


def _record_other_photograph(document: Mapping[str, Any], path: Path, source: MaskSource) -> None:
    """Record that the file names another photograph, as after renaming or copying."""
    image = document.get("imagePath")
    if not isinstance(image, str) or not image:
        return
    drawn_on = PureWindowsPath(image)  # takes both kinds of slashes
    if _plain(path.stem) not in (_plain(drawn_on.stem), _plain(drawn_on.name)):
        source.record("LabelMe files name another photograph than theirs", drawn_on.name)
