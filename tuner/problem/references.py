"""Reads users' own masks for the images of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explainers.errors import InvalidInput
from explainers.masks import check_own_mask
from explainers.references import (
    Decisions,
    MaskFolder,
    Photograph,
    Reference,
    coco_mask,
    decisions_logged,
    load_mask,
    read_coco,
)
from studies.catalog import Catalog
from studies.catalog.assets import StudyImage

__all__ = ["own_mask", "own_masks"]


def own_masks(
    catalog: Catalog, images: Sequence[StudyImage], rule: str
) -> dict[str, Reference] | None:
    """The masks that a rule names, by key: ``masks`` (the catalogue's), a folder, a COCO file.

    Decisions that concern several masks are logged once.

    Returns:
        ``None`` where the rule names no masks.

    Raises:
        InvalidInput, MissingAsset, UnusableReference: as :func:`own_mask`.
    """
    source = Path(rule)
    own = any(image.own_mask is not None or image.entry.mask is not None for image in images)
    with decisions_logged() as decisions:
        # Where the catalogue has no masks, "masks" may be the name of a folder.
        if rule == "masks" and (own or not source.is_dir()):
            return {image.key: own_mask(catalog, image, decisions) for image in images}
        if source.is_dir():
            paths = MaskFolder(source).masks_of({image.key: image.path for image in images})
            return {image.key: _load(paths[image.key], image, decisions) for image in images}
        if source.suffix.lower() == ".json":
            return _coco_masks(source, images, decisions)
    return None


def own_mask(catalog: Catalog, image: StudyImage, decisions: Decisions | None = None) -> Reference:
    """The mask of an image: drawn with it, or in a file that the catalogue names.

    Raises:
        InvalidInput: there is none, or it does not fit the image.
        MissingAsset, InvalidImage, UnusableReference: see ``explainers.references.load_mask``.
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
    return Reference(_load(path, image, decisions).mask, "masks")


def _coco_masks(
    path: Path, images: Sequence[StudyImage], decisions: Decisions
) -> dict[str, Reference]:
    masks = read_coco(path, decisions)
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
        found[image.key] = coco_mask(masks, file, _photograph(image), decisions)
    return found


def _load(path: Path, image: StudyImage, decisions: Decisions | None) -> Reference:
    return load_mask(path, _photograph(image), decisions)


def _photograph(image: StudyImage) -> Photograph:
    return Photograph(image.key, image.geometry, image.size, image.path, image.entry.class_name)
