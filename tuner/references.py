"""The mask that a catalogue brings of an image."""

from __future__ import annotations

from pathlib import Path

from explainers.errors import InvalidInput
from explainers.mask_files import load_mask
from explainers.masks import check_reference
from explainers.reference import Reference
from studies.assets import StudyImage
from studies.catalog import Catalog

__all__ = ["own_mask"]


def own_mask(catalog: Catalog, image: StudyImage) -> Reference:
    """The mask that belongs to an image: drawn with it, or in a file that the catalogue names.

    Raises:
        InvalidInput: there is none, or it does not fit the image.
        MissingAsset, InvalidImage, UnusableReference: see ``explainers.mask_files.load_mask``.
    """
    if image.own_mask is not None:
        check_reference(image.own_mask, image.key)
        return Reference(image.own_mask, "masks")
    if image.entry.mask is None:
        raise InvalidInput(
            f"catalogue '{catalog.name}' brings no mask of '{image.key}': "
            "give --reference METHOD@RULE or a folder of masks"
        )
    path = (catalog.folder or Path()) / image.entry.mask
    loaded = load_mask(path, image.key, image.geometry, image.size)
    return Reference(loaded.mask, "masks")
