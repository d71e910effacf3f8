"""From options to objects: catalogue, classifier, images, references."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from studies.assets import assets_folder
from studies.catalog import Catalog, load_catalog
from tuner.cli.settings import setting

if TYPE_CHECKING:
    from explainers.classifier import Classifier
    from explainers.reference import Reference
    from studies.assets import StudyImage

__all__ = ["DEFAULT_CATALOG", "Workplace", "open_workplace"]

_logger = logging.getLogger(__name__)

DEFAULT_CATALOG = "tml25"


@dataclass(frozen=True)
class Workplace:
    """What a command works on.

    Attributes:
        catalog_source: what ``--catalog`` said, for other processes to load it again.
    """

    catalog_source: str
    catalog: Catalog
    classifier: Classifier
    assets: Path | None

    @property
    def has_no_reference(self) -> bool:
        """Whether the classifier has no maps, and the catalogue no masks."""
        from explainers.black_box import BlackBox

        return isinstance(self.classifier, BlackBox) and self.catalog.reference != "masks"

    def load_images(self) -> list[StudyImage]:
        """All images of the catalogue, in order; any that is missing or broken is an error."""
        from studies.assets import load_study_image
        from tuner.cli.output import download_progress

        with download_progress() as progress:
            images = [
                load_study_image(
                    self.catalog, entry, self.classifier.geometry, self.assets, progress
                )
                for entry in self.catalog.images
            ]
        _tell_notes(images)
        return images

    def references(
        self,
        images: list[StudyImage],
        rule: str | None,
        class_of: Callable[[StudyImage], int | None] = lambda image: None,
        *,
        judged: bool = False,
    ) -> dict[str, Reference]:
        """The reference of each image by key: computed, or read from a folder.

        Args:
            judged: find out how far computed ones can be trusted.

        Raises:
            InvalidInput, MissingAsset, UnusableReference: see ``explainers.reference``.
        """
        from explainers.annotations import read_coco
        from explainers.mask_files import coco_mask, find_mask, load_mask
        from explainers.reference import parse_reference
        from tuner.cli.output import steps_within, work_progress

        rule = rule or self.catalog.reference
        folder = Path(rule)
        own = any(image.own_mask is not None or image.entry.mask is not None for image in images)
        # A folder may well be called "masks"; where the catalogue has none, it is what is meant.
        if rule == "masks" and (own or not folder.is_dir()):
            return {image.key: self._own_mask(image) for image in images}
        if folder.is_dir():
            return {
                image.key: load_mask(
                    find_mask(folder, image.key), image.key, image.geometry, image.size
                )
                for image in images
            }
        if folder.suffix == ".json":
            masks = read_coco(folder)
            return {
                image.key: coco_mask(
                    masks,
                    image.entry.file or image.key,
                    image.key,
                    image.geometry,
                    image.size,
                    image.entry.class_name,
                )
                for image in images
            }
        parsed = parse_reference(rule)
        found: dict[str, Reference] = {}
        with work_progress(f"reference {parsed.text}") as advance:
            for number, image in enumerate(images):
                found[image.key] = parsed.of(
                    self.classifier,
                    image.pixels,
                    image.key,
                    class_of(image),
                    steps_within(advance, image.key, number, len(images)),
                    image.at_scale,
                    judged,
                )
                advance(image.key, number + 1, len(images))
        return found

    def _own_mask(self, image: StudyImage) -> Reference:
        from tuner.references import own_mask

        return own_mask(self.catalog, image)


def _tell_notes(images: list[StudyImage]) -> None:
    """Say how pictures were read, once for all that were read alike."""
    alike: dict[str, list[str]] = {}
    for image in images:
        for note in image.notes:
            alike.setdefault(note, []).append(image.key)
    for note, keys in alike.items():
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        _logger.warning("%s%s: %s", ", ".join(keys[:3]), more, note)


def catalog_class(image: StudyImage, classifier: Classifier) -> int:
    """The class that the catalogue says an image shows, as the classifier numbers it.

    Raises:
        InvalidInput: the catalogue names none, or the classifier does not know it.
    """
    name = image.entry.class_name
    names = [n.lower() for n in classifier.class_names]
    if name is None or name.lower() not in names:
        raise InvalidInput(
            f"the class '{name}' of '{image.key}' is not one of {classifier.name}'s: "
            "leave out --target catalog to explain the classifier's first class"
        )
    return names.index(name.lower())


def open_workplace(
    *,
    catalog: str | None,
    assets: Path | None,
    model: str | None,
    weights: str | None,
    device: str | None,
    cam_layer: str | None,
    images: str | None = None,
) -> Workplace:
    """Load the catalogue and the classifier that the options name."""
    source = setting("catalog", catalog, DEFAULT_CATALOG)
    loaded = load_catalog(source)
    if images is not None:
        loaded = loaded.only(tuple(key.strip() for key in images.split(",") if key.strip()))
    if loaded.left_out:
        _logger.warning("%s: left out: %s", source, loaded.left_out)
    named = setting("assets", assets)
    folder = assets_folder(None if named is None else Path(named))
    from explainers.zoo import load_classifier

    classifier = load_classifier(
        setting("model", model, loaded.model),
        weights=setting("weights", weights),
        device=setting("device", device),
        cam_layer=setting("cam_layer", cam_layer),
    )
    return Workplace(source, loaded, classifier, folder)
