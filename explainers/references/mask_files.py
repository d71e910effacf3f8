"""Reading the user's own masks: pictures, arrays, LabelMe files, one COCO file for all."""

from __future__ import annotations

import functools
import zipfile
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Photograph:
    """The photograph that a mask belongs to.

    Attributes:
        name: of the image, for messages.
        geometry: of the classifier; applied to the mask as well.
        size: (width, height) of the original picture, upright.
        path: its file, if there is one.
        class_name: of the object it shows, if known; for files that name their objects.
    """

    name: str
    geometry: Geometry
    size: tuple[int, int]
    path: Path | None = None
    class_name: str | None = None

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The (H, W) that a mask may have: the original's, and the crop's."""
        return self.size[::-1], (self.geometry.crop, self.geometry.crop)

    def check(self, shape: tuple[int, ...], source: MaskSource) -> None:
        """Raise :class:`InvalidInput` for a mask of any other size."""
        if shape in self.shapes:
            return
        (width, height), crop = self.size, self.geometry.crop
        hint = ""
        if shape == (width, height):
            turned = orientation(self.path) in _TURNED_BY_90
            hint = (
                "; the photograph is turned by its EXIF data, and the mask is not: turn it"
                if turned
                else "; it is transposed"
            )
        raise source.error(
            f"is {shape[1]} × {shape[0]}: a mask of {self.name} is either of the photograph's "
            f"size ({width} × {height}) or of the classifier's crop ({crop} × {crop}){hint}"
        )

    def fitted(self, mask: NDArray[np.bool_], source: MaskSource) -> NDArray[np.bool_]:
        """The mask in the classifier's geometry, (crop, crop) bool.

        Raises:
            InvalidInput: the mask has another size than the photograph and the crop.
            UnusableReference: it is empty or full.
        """
        self.check(mask.shape, source)
        whole = f"mask {source.name} of {self.name}"
        (width, height), crop, resize = self.size, self.geometry.crop, self.geometry.resize
        if mask.shape == (height, width):
            if (width, height) == (crop, crop) and resize not in (None, crop):
                source.record(
                    f"masks of the photograph's size, {crop} × {crop}, follow the photograph "
                    f"(resized to {resize}, cropped to {crop})"
                )
            turn = orientation(self.path)
            if turn > 1 and (turn not in _TURNED_BY_90 or width == height):
                source.record(
                    "masks are taken as drawn on the upright photograph, as its EXIF turns it"
                )
            check_own_mask(mask, whole)
            picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
            mask = prepare(picture, self.geometry)[..., 0] > 127
            whole += ", in the part of the photograph that the classifier sees,"
        elif width == height and resize not in (None, mask.shape[0]):
            source.record(
                f"masks of {crop} × {crop} are taken as drawn on the classifier's crop, not as "
                "reduced ones of the whole photograph"
            )
        check_own_mask(mask, whole)
        return mask


def load_mask(path: Path, photograph: Photograph, decisions: Decisions | None = None) -> Reference:
    """Read a user's mask; ``explainers.references.mask_values`` says how values are understood.

    A mask of the original photograph's size goes through the same geometry as the photograph; a
    mask that is already ``crop`` × ``crop`` is taken as it is.

    Args:
        path: a picture, a ``.npy`` array, or a LabelMe ``.json``, whose shapes are the object.
        decisions: collects what was decided; logged at the end of the call by default.

    Raises:
        MissingAsset: there is no such file.
        InvalidImage: it cannot be read.
        InvalidInput: its values are ambiguous, or its size fits neither the photograph nor the
            geometry.
        UnusableReference: it is empty or full.
    """
    name, original = photograph.name, photograph.path
    if not path.is_file():
        raise MissingAsset(f"mask {path} of {name} does not exist: check the folder of masks")
    if original is not None and original.exists() and path.samefile(original):
        raise InvalidInput(f"mask {path} of {name} is the photograph itself: give another file")
    with mask_source(str(path), decisions) as source:
        suffix = path.suffix.lower()
        if suffix == ".npy":
            mask = array_object(_array(path), photograph.shapes, source)
        elif suffix == ".json":
            mask = read_labelme(
                path,
                photograph=photograph.size,
                class_name=photograph.class_name,
                fits=functools.partial(photograph.check, source=source),
                decisions=source.decisions,
            )
        else:
            mask = picture_file_object(path, source)
        return Reference(photograph.fitted(mask, source), str(path))


def coco_mask(
    masks: CocoMasks, file_name: str, photograph: Photograph, decisions: Decisions | None = None
) -> Reference:
    """The objects of one photograph in a COCO file; those of its class, where it has any.

    Raises:
        MissingAsset: the file has no such image.
        InvalidInput, UnusableReference: as :func:`load_mask`.
    """
    with mask_source(str(masks.path), decisions) as source:
        mask = masks.mask(
            file_name,
            photograph.class_name,
            photograph=photograph.size,
            fits=functools.partial(photograph.check, source=source),
            decisions=source.decisions,
        )
        return Reference(photograph.fitted(mask, source), str(masks.path))


def given_mask(
    array: Any,
    shape: tuple[int, int],
    *,
    geometry: Geometry | None = None,
    photograph: tuple[int, int] | None = None,
) -> Reference:
    """A reference from a mask that a program passes.

    Args:
        array: as in a ``.npy`` file, or a Pillow picture.
        shape: (H, W) of the image in the classifier's geometry.
        geometry: the classifier's, if the image was prepared from a photograph; the mask is then
            prepared alike.
        photograph: (width, height) of that photograph, upright.

    Raises:
        InvalidInput: its values are ambiguous, or it has another shape.
        UnusableReference: it is empty or full.
    """
    place = None
    if geometry is not None and photograph is not None:
        place = Photograph("the image", geometry, photograph)
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
