"""Reference masks of the user's own: pictures, arrays, LabelMe files, one COCO file for all."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry, orientation, prepare
from explainers.masks import check_own_mask
from explainers.references.coco import CocoMasks
from explainers.references.decisions import Decisions, MaskSource, mask_source
from explainers.references.labelme import read_labelme
from explainers.references.mask_pictures import picture_file_object, picture_object
from explainers.references.mask_values import array_object
from explainers.references.reference import Reference

_TURNED_BY_90 = (5, 6, 7, 8)


def load_mask(
    path: Path,
    name: str,
    geometry: Geometry,
    photograph: tuple[int, int],
    *,
    photograph_path: Path | None = None,
    class_name: str | None = None,
    decisions: Decisions | None = None,
) -> Reference:
    """Read a user's mask by its meaning; see ``explainers.references.mask_values``.

    A mask of the original photograph's size goes through the same geometry as the photograph; a
    mask that is already ``crop`` × ``crop`` is taken as it is.

    Args:
        path: a picture, a ``.npy`` array, or a LabelMe ``.json``, whose shapes are the object.
        name: of the image, for messages.
        photograph: (width, height) of the original picture.
        photograph_path: its file, when there is one.
        class_name: what the photograph shows, when known; for files that name their objects.
        decisions: collects what was decided; logged at the end of the call by default.

    Raises:
        MissingAsset, InvalidImage: no such file, or not readable.
        InvalidInput: it has no plain meaning, or its size fits neither the photograph nor the
            geometry.
        UnusableReference: it is empty or full.
    """
    if not path.is_file():
        raise MissingAsset(f"mask {path} of {name} does not exist: check the folder of masks")
    if photograph_path is not None and photograph_path.exists() and path.samefile(photograph_path):
        raise InvalidInput(f"mask {path} of {name} is the photograph itself: give another file")
    place = _Place(name, geometry, photograph, photograph_path)
    with mask_source(str(path), decisions) as source:
        suffix = path.suffix.lower()
        if suffix == ".npy":
            mask = array_object(_array(path), place.shapes, source)
        elif suffix == ".json":
            mask = read_labelme(
                path,
                photograph=photograph,
                class_name=class_name,
                fits=functools.partial(place.check, source=source),
                decisions=source.decisions,
            )
        else:
            mask = picture_file_object(path, source)
        return Reference(place.fitted(mask, source), str(path))


def coco_mask(
    masks: CocoMasks,
    file_name: str,
    name: str,
    geometry: Geometry,
    photograph: tuple[int, int],
    category: str | None = None,
    *,
    photograph_path: Path | None = None,
    decisions: Decisions | None = None,
) -> Reference:
    """The objects of one photograph in a COCO file; those of the category, where it has any.

    Raises:
        As :func:`load_mask`.
    """
    place = _Place(name, geometry, photograph, photograph_path)
    with mask_source(str(masks.path), decisions) as source:
        mask = masks.mask(
            file_name,
            category,
            photograph=photograph,
            fits=functools.partial(place.check, source=source),
            decisions=source.decisions,
        )
        return Reference(place.fitted(mask, source), str(masks.path))


def given_mask(
    array: Any,
    shape: tuple[int, int],
    *,
    geometry: Geometry | None = None,
    photograph: tuple[int, int] | None = None,
) -> Reference:
    """A mask that a program gives.

    Args:
        array: as in a ``.npy`` file, or a Pillow picture.
        shape: (H, W) of the image in the classifier's geometry.
        geometry: that, where a photograph was brought into it; its mask follows it then.
        photograph: its (width, height), upright.

    Raises:
        InvalidInput: it has no plain meaning, or another shape.
        UnusableReference: it is empty or full.
    """
    place = None
    if geometry is not None and photograph is not None:
        place = _Place("the image", geometry, photograph)
    with mask_source("the reference", None) as source:
        if isinstance(array, Image.Image):
            mask = picture_object(array, source)
        else:
            mask = array_object(array, [shape] if place is None else place.shapes, source)
        if place is not None:
            return Reference(place.fitted(mask, source), "given")
        if mask.shape != shape:
            raise source.error(f"has shape {mask.shape}, and the image {shape}: give it the same")
        check_own_mask(mask, "the reference mask of the image")
        return Reference(mask, "given")


def _array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path} is not a .npy array of numbers or booleans: write it with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"{path} is an archive of arrays: write one array with numpy.save")
    return array


class _Place:
    """The photograph of a mask: the sizes that a mask may have, and its geometry."""

    def __init__(
        self,
        name: str,
        geometry: Geometry,
        photograph: tuple[int, int],
        path: Path | None = None,
    ) -> None:
        self._name, self._geometry, self._path = name, geometry, path
        self._own = (photograph[1], photograph[0])
        self._crop = (geometry.crop, geometry.crop)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The (H, W) that a mask may have."""
        return (self._own, self._crop)

    def check(self, shape: tuple[int, ...], source: MaskSource) -> None:
        """Refuse a mask of any other size."""
        if shape in self.shapes:
            return
        (height, width), crop = self._own, self._geometry.crop
        hint = ""
        if shape == (width, height):
            turned = orientation(self._path) in _TURNED_BY_90
            hint = (
                "; the photograph is turned by its EXIF data, and the mask is not: turn it"
                if turned
                else "; it is transposed"
            )
        raise source.error(
            f"is {shape[1]} × {shape[0]}: a mask of {self._name} is either of the photograph's "
            f"size ({width} × {height}) or of the classifier's crop ({crop} × {crop}){hint}"
        )

    def fitted(self, mask: NDArray[np.bool_], source: MaskSource) -> NDArray[np.bool_]:
        """The mask in the classifier's geometry."""
        self.check(mask.shape, source)
        whole = f"mask {source.name} of {self._name}"
        if mask.shape == self._own:
            self._record_doubt(source)
            check_own_mask(mask, whole)
            picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
            mask = prepare(picture, self._geometry)[..., 0] > 127
            whole += ", in the part of the photograph that the classifier sees,"
        elif self._own[0] == self._own[1] and self._geometry.resize not in (None, mask.shape[0]):
            source.record(
                f"masks of {self._geometry.crop} × {self._geometry.crop} are taken as drawn on "
                "the classifier's crop, not as reduced ones of the whole photograph"
            )
        check_own_mask(mask, whole)
        return mask

    def _record_doubt(self, source: MaskSource) -> None:
        """Record assumptions about a mask of the photograph's size."""
        resize, crop = self._geometry.resize, self._geometry.crop
        if self._own == self._crop and resize not in (None, crop):
            source.record(
                f"masks of the photograph's size, {crop} × {crop}, follow the photograph "
                f"(resized to {resize}, cropped to {crop})"
            )
        turn = orientation(self._path)
        if turn > 1 and (turn not in _TURNED_BY_90 or self._own[0] == self._own[1]):
            source.record(
                "masks are taken as drawn on the upright photograph, as its EXIF turns it"
            )
