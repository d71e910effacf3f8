"""What a process loads once and uses for many studies: the classifier, and an engine for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from explainers.classifiers import Classifier
    from explainers.engines import Engine
    from studies.assets import StudyImage
    from studies.catalog import Catalog
    from tuner.runtime_model import RuntimeModel

__all__ = ["kept_classifier", "kept_engine", "kept_runtime_model", "load_catalog_image"]

_models: dict[tuple[str, tuple[int, ...], int], RuntimeModel] = {}
_engines: dict[tuple[str, str, tuple[int, ...], int], Engine] = {}


def kept_classifier(spec: Mapping[str, Any]) -> Classifier:
    """The classifier of ``load_classifier(**spec)``, the same one when asked again."""
    return _loaded(tuple(sorted(spec.items())))


@lru_cache(maxsize=1)
def _loaded(spec: tuple[tuple[str, Any], ...]) -> Classifier:
    from explainers.classifiers import load_classifier

    return load_classifier(**dict(spec))


def kept_engine(classifier: Classifier, name: str, image: NDArray[np.uint8]) -> Engine:
    """An engine for images of that size, the same one when asked again.

    Args:
        name: see ``explainers.engines.ENGINES``.
        image: (H, W, 3) uint8.
    """
    import torch

    from explainers.engines import make_engine
    from studies.assets import cache_folder

    key = (classifier.fingerprint, name, image.shape, torch.get_num_threads())
    if key not in _engines:
        _engines.clear()
        _engines[key] = make_engine(classifier, name, image=image, cache=cache_folder() / "engines")
    return _engines[key]


def kept_runtime_model(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """The runtime model for images of that size, the same one when asked again.

    Args:
        image: (H, W, 3) uint8.
    """
    import torch

    from tuner.calibration import runtime_model_for

    key = (classifier.fingerprint, image.shape, torch.get_num_threads())
    if key not in _models:
        _models[key] = runtime_model_for(classifier, image)
    return _models[key]


def load_catalog_image(
    source: str, key: str, classifier: Classifier, assets: Path | None = None
) -> tuple[Catalog, StudyImage]:
    """One image of a catalogue, in the classifier's geometry, with the catalogue cut down to it.

    Args:
        source: as ``--catalog`` says.

    Raises:
        InvalidInput, MissingAsset, InvalidImage: see :mod:`studies.catalog` and
            :mod:`studies.assets`.
    """
    from studies.assets import load_study_image
    from studies.catalog import load_catalog

    catalog = load_catalog(source).only((key,))
    return catalog, load_study_image(catalog, catalog.images[0], classifier.geometry, assets)
