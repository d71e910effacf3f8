"""COCO: one JSON file of object instances for all photographs."""

from __future__ import annotations

import ast
import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput, MissingAsset
from explainers.messages import shortened
from explainers.references.annotations import (
    chosen_labels,
    fill_polygons,
    points_of,
    read_json,
    side_length,
)
from explainers.references.decisions import Decisions, MaskSource, decisions_logged, mask_source

# Label Studio puts such a number before the names of uploaded files, and replaces blanks by _.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
_BROKEN = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class CocoObject:
    """One annotation.

    Attributes:
        category: its name, "" where the file has none.
        segmentation: polygons or run lengths, unchecked, as in the file.
        crowd: whether it is a region of many objects that are not separated.
    """

    category: str
    segmentation: Any
    crowd: bool


@dataclass(frozen=True)
class CocoMasks:
    """Masks by image of a COCO file of object instances.

    Attributes:
        sizes: (height, width) by file name; ``None`` where the file does not say it.
        objects: by file name.
    """

    path: Path
    sizes: Mapping[str, tuple[int, int] | None]
    objects: Mapping[str, Sequence[CocoObject]]

    def mask(
        self,
        file_name: str,
        category: str | None = None,
        *,
        photograph: tuple[int, int] | None = None,
        fits: Callable[[tuple[int, int]], None] = lambda shape: None,
        decisions: Decisions | None = None,
    ) -> NDArray[np.bool_]:
        """All objects of an image, or those of the category where the image has any.

        Regions of crowds are left out where there are single objects.

        Args:
            file_name: of the photograph; its suffix does not matter, its folders only where
                several images have its name.
            photograph: (width, height) where the file does not say it.
            fits: raises for an (H, W) that cannot be used, before anything is drawn.
            decisions: collects what was decided; logged at the end of the call by default.

        Returns:
            (H, W) bool of the photograph's size.

        Raises:
            MissingAsset: the file has no such image.
            InvalidInput: it has several, or a segmentation cannot be read.
        """
        name = self.image_name(file_name)
        with mask_source(f"{self.path}: '{name}'", decisions) as source:
            if not {*_keys(_parts(name))[:3]} & {*_keys(_parts(file_name))[:3]}:
                source.record("Label Studio's numbers before names of images are left out", name)
            shape = self.sizes[name] or (photograph and (photograph[1], photograph[0]))
            if shape is None:
                raise source.error("has no height and width: export it with them")
            fits(shape)
            mask, empty = np.zeros(shape, dtype=bool), 0
            wanted = self._wanted(name, category, source)
            for each in wanted:
                try:
                    area = _area(each.segmentation, shape)
                except _BROKEN as error:
                    raise InvalidInput(
                        f"{self.path} has a segmentation of '{file_name}' that is neither a list "
                        f"of polygons nor run lengths ({type(error).__name__}: {error})"
                    ) from error
                if area is None:
                    empty += 1
                else:
                    mask |= area
            if empty and empty == len(wanted):
                raise source.error(
                    "has no outlines, boxes at most (segmentation is empty, or has fewer than "
                    "three points): export it with polygons or run lengths"
                )
            if empty:
                source.record(
                    "objects without an outline are left out", f"{empty} of {len(wanted)}"
                )
            return mask

    def _wanted(self, name: str, category: str | None, source: MaskSource) -> Sequence[CocoObject]:
        drawn = self.objects.get(name, ())
        categories = {each.category for each in drawn}
        categories = chosen_labels(categories, category, source, "objects", "category")
        wanted = [each for each in drawn if each.category in categories]
        single = [each for each in wanted if not each.crowd]
        if single and len(single) < len(wanted):
            source.record("regions of crowds are left out where there are single objects")
        elif wanted and not single:
            source.record("regions of crowds are taken as the object, for want of single objects")
        return single or wanted

    @functools.cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """Names of images by each of their keys."""
        index: dict[tuple[str, str], list[str]] = {}
        for name in self.sizes:
            parts = _parts(name)
            uploaded = _UPLOADED.fullmatch(parts[-1])
            more = _keys((uploaded[1],))[-1:] if uploaded else ()
            for key in (*_keys(parts)[:-1], *more):
                index.setdefault(key, []).append(name)
        return index

    def image_name(self, file_name: str) -> str:
        """The file's name for a photograph; of several, the one with most folders in common.

        Raises:
            MissingAsset: the file has no such image.
            InvalidInput: it has several.
        """
        wanted = _parts(file_name)
        found = next((self._by_name[key] for key in _keys(wanted) if key in self._by_name), None)
        if found is None:
            raise MissingAsset(
                f"{self.path} has no image '{wanted[-1]}' (it has {len(self.sizes)}: "
                f"{shortened(list(self.sizes)) or 'none'}): add it, or leave it out"
            )
        shared = [_shared(_parts(name)[:-1], wanted[:-1]) for name in found]
        best = [name for name, n in zip(found, shared, strict=True) if n == max(shared)]
        if len(best) > 1:
            raise InvalidInput(
                f"{self.path} has several images '{wanted[-1]}' ({shortened(best)}): name the "
                "photograph's file with its folder in a catalogue, as the file does"
            )
        return best[0]


def read_coco(path: Path, decisions: Decisions | None = None) -> CocoMasks:
    """Read a COCO file: ``images``, ``annotations`` with ``segmentation``, ``categories``.

    Raises:
        MissingAsset: there is no such file.
        InvalidInput: it is no COCO file of object instances.
    """
    document = read_json(path, "a COCO file", ("images", "annotations"))
    try:
        names = {_id(each["id"]): str(each["name"]) for each in document.get("categories") or ()}
        files, sizes = _images(document["images"], path)
        objects: dict[str, list[CocoObject]] = {}
        strangers = 0
        for each in document["annotations"]:
            _check_instance(each, path)
            file = files.get(_id(each["image_id"]))
            if file is None:
                strangers += 1
                continue
            category = names.get(_id(each.get("category_id")), "")
            crowd = bool(int(each.get("iscrowd") or 0))
            objects.setdefault(file, []).append(
                CocoObject(category, each.get("segmentation"), crowd)
            )
    except _BROKEN as error:
        raise InvalidInput(
            f"{path} is no COCO file with images and annotations "
            f"({type(error).__name__}: {error}): export it as COCO instances again"
        ) from error
    if strangers:
        with decisions_logged(decisions) as collected:
            collected.add("annotations of images that are not listed are left out", str(strangers))
    return CocoMasks(path, sizes, objects)


def _images(
    entries: Sequence[Mapping[str, Any]], path: Path
) -> tuple[dict[str, str], dict[str, tuple[int, int] | None]]:
    """File names by id, and sizes by file name; an image may be listed twice with one size."""
    files: dict[str, str] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for each in entries:
        name, number = str(each["file_name"]), _id(each["id"])
        size = None
        if each.get("height") is not None or each.get("width") is not None:
            size = side_length(each["height"]), side_length(each["width"])
        if files.setdefault(number, name) != name:
            raise InvalidInput(
                f"{path} has the images '{files[number]}' and '{name}' under one id, {number}: "
                "give every image an id of its own"
            )
        if sizes.setdefault(name, size) != size:
            raise InvalidInput(
                f"{path} has the image '{name}' twice, of {sizes[name]} and {size} (height, "
                "width): remove one"
            )
    return files, sizes


def _check_instance(entry: Mapping[str, Any], path: Path) -> None:
    """Raise for COCO's other files of annotations."""
    if "segmentation" in entry or "bbox" in entry:
        return
    export = "give the file of object instances, with polygons or run lengths"
    if "segments_info" in entry:
        raise InvalidInput(f"{path} is a COCO file of panoptic segmentations: {export}")
    if "caption" in entry:
        raise InvalidInput(f"{path} is a COCO file of captions: {export}")
    if "keypoints" in entry:
        raise InvalidInput(f"{path} is a COCO file of key points: {export}")


def _id(value: Any) -> str:
    """An identifier as text: some files have numbers, some have text, some have both."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return str(value).strip()


def _area(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """(H, W) bool area of a segmentation; ``None`` where it has no outline.

    Raises:
        Exceptions of ``_BROKEN``: it cannot be read.
    """
    if segmentation is None or (isinstance(segmentation, (list, dict)) and not segmentation):
        return None
    if isinstance(segmentation, Mapping):
        return _run_lengths(segmentation, shape)
    if not isinstance(segmentation, list):
        raise TypeError(f"a {type(segmentation).__name__}")
    if isinstance(segmentation[0], Mapping):
        parts = [_run_lengths(each, shape) for each in segmentation]
        return np.asarray(np.any(parts, axis=0))
    if not isinstance(segmentation[0], list) or all(len(part) == 2 for part in segmentation):
        segmentation = [segmentation]  # one polygon, flat or in pairs, not a list of polygons
    polygons = [points_of(part) for part in segmentation]
    with_area = [points for points in polygons if len(points) > 2]
    return fill_polygons(with_area, shape) if with_area else None


def _run_lengths(segmentation: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    counts, size = segmentation["counts"], tuple(int(side) for side in segmentation["size"])
    if size != shape:
        raise ValueError(f"run lengths for {size}, the image is {shape}")
    numbers = decoded_counts(counts) if isinstance(counts, (str, bytes)) else counts
    return run_lengths_to_mask(numbers, shape)


def _parts(file_name: str) -> tuple[str, ...]:
    """Folders and file name of a path with / or \\, with accents composed (NFC)."""
    text = unicodedata.normalize("NFC", file_name).replace("\\", "/")
    return tuple(part for part in text.split("/") if part not in ("", ".")) or ("",)


def _keys(parts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Keys that an image is looked up by, the most exact first."""
    name = parts[-1]
    stem = PurePosixPath(name).stem
    folded = stem.casefold()
    uploaded = folded.replace(" ", "_")
    return ("name", name), ("stem", stem), ("any case", folded), ("uploaded", uploaded)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Number of folders in common, counted from the file upwards."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def run_lengths_to_mask(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool from alternating runs of background and object, by columns, background first.

    Raises:
        ValueError: the runs do not add up to the picture.
    """
    lengths = np.asarray(counts, dtype=np.float64)
    if (
        lengths.ndim != 1
        or not ((lengths >= 0) & (lengths == np.floor(lengths))).all()
        or int(lengths.sum()) != shape[0] * shape[1]
    ):
        raise ValueError(f"runs do not add up to {shape[0]} × {shape[1]} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths.astype(np.int64)).reshape(shape, order="F")


def decoded_counts(text: str | bytes) -> list[int]:
    """The numbers in compressed run lengths.

    COCO's format: each character, counted from "0", has six bits, five of them of a number; the
    sixth says that more follow. The fifth bit of a number's last character is its sign. From the
    fourth number on the difference to the last but one is stored.

    Args:
        text: also as Python prints bytes (``b'...'``), which ``str(counts)`` leaves in many files.

    Raises:
        ValueError: the text is not in this format.
    """
    if isinstance(text, str) and len(text) > 2 and text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        try:
            text = ast.literal_eval(text)
        except SyntaxError as error:
            raise ValueError("compressed run lengths that are cut off") from error
    if isinstance(text, bytes):
        text = text.decode("ascii")
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
