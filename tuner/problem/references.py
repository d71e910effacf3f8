"""Masks of the user's own for the images of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explainers.annotations import read_coco
from explainers.errors import InvalidInput
from explainers.mask_files import MaskFolder, coco_mask, load_mask
from explainers.masks import check_own_mask
from explainers.reference import Reference
from explainers.remarks import Remarks, told_once
from studies.assets import StudyImage
from studies.catalog import Catalog

__all__ = ["own_mask", "own_masks"]


def own_masks(
    catalog: Catalog, images: Sequence[StudyImage], rule: str
) -> dict[str, Reference] | None:
    """The masks that a rule names, by key: the catalogue's own (``masks``), a folder's, COCO's.

    What was decided about several of them is told once.

    Returns:
        ``None`` where the rule names no masks.

    Raises:
        InvalidInput, MissingAsset, UnusableReference: as :func:`own_mask`.
    """
    source = Path(rule)
    own = any(image.own_mask is not None or image.entry.mask is not None for image in images)
    with told_once() as remarks:
        # A folder may well be called "masks"; where the catalogue has none, it is what is meant.
        if rule == "masks" and (own or not source.is_dir()):
            return {image.key: own_mask(catalog, image, remarks) for image in images}
        if source.is_dir():
            paths = MaskFolder(source).masks_of({image.key: image.path for image in images})
            return {image.key: _load(paths[image.key], image, remarks) for image in images}
        if source.suffix.lower() == ".json":
            return _coco_masks(source, images, remarks)
    return None


def own_mask(catalog: Catalog, image: StudyImage, remarks: Remarks | None = None) -> Reference:
    """The mask that belongs to an image: drawn with it, or in a file that the catalogue names.

    Raises:
        InvalidInput: there is none, or it does not fit the image.
        MissingAsset, InvalidImage, UnusableReference: see ``explainers.mask_files.load_mask``.
    """
    if image.own_mask is not None:
        check_own_mask(image.own_mask, f"the mask of {image.key}")
        return Reference(image.own_mask, "masks")
    if image.entry.mask is None:
        raise InvalidInput(
            f"catalogue '{catalog.name}' brings no mask of '{image.key}': "
            "give --reference METHOD@RULE or a folder of masks"
        )
    path = (catalog.folder or Path()) / image.entry.mask
    return Reference(_load(path, image, remarks).mask, "masks")


def _coco_masks(path: Path, images: Sequence[StudyImage], remarks: Remarks) -> dict[str, Reference]:
    masks = read_coco(path, remarks)
    found: dict[str, Reference] = {}
    keys: dict[str, str] = {}
    for image in images:
        file = image.entry.file or image.key
        name = masks.image_name(file)
        other = keys.setdefault(name, image.key)
        if other != image.key:
            raise InvalidInput(
                f"{path} has one image, '{name}', for both '{other}' and '{image.key}': add the "
                "other one, or leave it out"
            )
        found[image.key] = coco_mask(
            masks,
            file,
            image.key,
            image.geometry,
            image.size,
            image.entry.class_name,
            photograph_path=image.path,
            remarks=remarks,
        )
    return found


def _load(path: Path, image: StudyImage, remarks: Remarks | None) -> Reference:
    return load_mask(
        path,
        image.key,
        image.geometry,
        image.size,
        photograph_path=image.path,
        class_name=image.entry.class_name,
        remarks=remarks,
    )
