"""Loads what the options name: catalogue, classifier, images, references."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explainers.classifiers import BlackBox, Classifier, class_number
from explainers.errors import InvalidInput, LimeTunerError
from explainers.references import Reference, parse_reference
from studies.catalog import Catalog, load_catalog
from studies.catalog.assets import StudyImage, assets_folder, load_study_image
from tuner.cli.options import CatalogOptions, ClassifierOptions
from tuner.cli.output import download_progress, phase, steps_within, work_progress
from tuner.problem.references import own_masks
from tuner.study.loading import fresh_classifier

__all__ = ["DEFAULT_CATALOG", "Workplace", "chosen_catalog", "open_workplace"]

DEFAULT_CATALOG = "tml25"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """The catalogue and the classifier that a command works on.

    Attributes:
        catalog_source: the value of ``--catalog``, with which other processes load it again.
        assets: folder that is searched for photographs first.
    """

    catalog_source: str
    catalog: Catalog
    classifier: Classifier
    assets: Path | None

    @property
    def has_no_reference(self) -> bool:
        """Whether there can be no reference: no activation maps, and no masks."""
        return isinstance(self.classifier, BlackBox) and self.catalog.reference != "masks"

    def load_images(self) -> list[StudyImage]:
        """Load all images of the catalogue, in order.

        Raises:
            MissingAsset, InvalidImage: an image is missing or cannot be read.
        """
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
        with_reliability: bool = False,
    ) -> dict[str, Reference]:
        """The reference of each image by key: computed, or read from files.

        Args:
            with_reliability: find out how far computed ones can be trusted.

        Raises:
            InvalidInput, MissingAsset, UnusableReference: see ``explainers.references.reference``.
        """
        rule = rule or self.catalog.reference
        own = own_masks(self.catalog, images, rule)
        if own is not None:
            return own
        parsed = parse_reference(rule)
        found: dict[str, Reference] = {}
        with work_progress(f"reference {parsed.text}") as advance:
            for number, image in enumerate(images):
                advance(image.key, number, len(images))
                found[image.key] = parsed.of(
                    self.classifier,
                    image.pixels,
                    image.key,
                    class_of(image),
                    steps_within(advance, image.key, number, len(images)),
                    image.at_scale,
                    with_reliability,
                )
                advance(image.key, number + 1, len(images))
        return found

    def object_masks(self, images: list[StudyImage]) -> dict[str, NDArray[np.bool_]]:
        """The catalogue's own masks by key, if it has one of every image.

        Logs a warning where one of them cannot be used.
        """
        if not all(image.own_mask is not None or image.entry.mask is not None for image in images):
            return {}
        try:
            return {key: each.mask for key, each in self.references(images, "masks").items()}
        except LimeTunerError as error:
            _logger.warning("the catalogue's own masks are not compared with: %s", error)
            return {}


def _tell_notes(images: list[StudyImage]) -> None:
    """Log the notes on how pictures were read, each one once for all its pictures."""
    alike: dict[str, list[str]] = {}
    for image in images:
        for note in image.notes:
            alike.setdefault(note, []).append(image.key)
    for note, keys in alike.items():
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        _logger.warning("%s%s: %s", ", ".join(keys[:3]), more, note)


def catalog_class(image: StudyImage, classifier: Classifier) -> int:
    """The classifier's index of the class that the catalogue names for an image.

    Raises:
        InvalidInput: the catalogue names no class, or none of the classifier's.
    """
    name = image.entry.class_name
    if name is None:
        raise InvalidInput(
            f"the catalogue does not say what '{image.key}' shows: give it a class_name, or leave "
            "out --target catalog to explain the classifier's first class"
        )
    try:
        number, loose = class_number(name, classifier.class_names)
    except InvalidInput as error:
        raise InvalidInput(f"'{image.key}', with {classifier.name}: {error}") from error
    if loose:
        _logger.warning(
            "%s: class '%s' is taken for '%s' (%d)",
            image.key, name, classifier.class_name(number), number,
        )  # fmt: skip
    return number


def chosen_catalog(options: CatalogOptions) -> Catalog:
    """Load the catalogue that the options name, with the images that they name."""
    loaded, images = load_catalog(options.catalog), options.images
    if images is None:
        return loaded
    if not images.replace(",", "").strip():
        raise InvalidInput(
            f"--images {images!r} names no image: give keys with commas between them, or leave "
            "it out for all"
        )
    return loaded.only(loaded.named(images))


def open_workplace(catalog: CatalogOptions, classifier: ClassifierOptions) -> Workplace:
    """Load the catalogue and the classifier that the options name."""
    source, loaded = catalog.catalog, chosen_catalog(catalog)
    if loaded.left_out:
        _logger.warning("%s: left out: %s", source, loaded.left_out)
    folder = assets_folder(catalog.assets)
    model = classifier.model or loaded.model
    if model == "demo" and classifier.weights is not None:
        _logger.warning("demo has weights of its own: %s is not used", classifier.weights)
    with phase(f"loading {model}"):
        made = fresh_classifier(
            {
                "model": model,
                "weights": classifier.weights,
                "device": classifier.device,
                "cam_layer": classifier.cam_layer,
                "crop": None if loaded.geometry is None else loaded.geometry.crop,
            }
        )
    return Workplace(source, loaded, made, folder)
