"""Make the task of a study from its spec and this machine; classifier and engine are cached."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from explainers.classifiers import Classifier, load_classifier
from explainers.engines import Engine, make_engine
from explainers.lime import PredictionCache
from explainers.masks import MASK_RULE, MaskRule
from studies.catalog import Catalog, load_catalog
from studies.catalog.assets import StudyImage, cache_folder, load_study_image
from tuner.problem import TuningTask
from tuner.problem.spec import Machine, StudySpec
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.freed_memory import keep_freed_memory
from tuner.runtime.model import RuntimeModel
from tuner.study.identity import stored_reference, stored_runtime_model

__all__ = [
    "LoadedTask", "fresh_classifier", "kept_classifier", "kept_engine", "kept_runtime_model",
    "load_image", "load_task", "open_cache", "prepare_process",
]  # fmt: skip

_models: dict[tuple[str, tuple[int, ...], int], RuntimeModel] = {}
_engines: dict[tuple[str, str, tuple[int, ...], int], Engine] = {}


@dataclass(frozen=True, eq=False)
class LoadedTask:
    """A study's task, with what it was made from.

    Attributes:
        catalog: the catalogue, reduced to this image.
    """

    spec: StudySpec
    classifier: Classifier
    catalog: Catalog
    image: StudyImage
    task: TuningTask


def load_task(spec: StudySpec, machine: Machine, cache: PredictionCache) -> LoadedTask:
    """Load the catalogue, classifier and image that a spec names, and make the task.

    Raises:
        InvalidInput, MissingAsset, InvalidImage, InvalidModel: something cannot be loaded, or the
            spec's reference or runtime model is damaged.
    """
    classifier, catalog, image = load_image(spec, machine)
    facts = {"reference": spec.reference, "runtime_model": spec.runtime_model}
    reference = stored_reference(spec.name, facts)
    model = stored_runtime_model(spec.name, facts)
    assert reference is not None
    assert model is not None
    task = TuningTask(
        image=image.pixels,
        source=kept_engine(classifier, machine.engine, image.pixels),
        reference=reference,
        cache=cache,
        runtime_model=model,
        mask_rule=MASK_RULE if spec.mask_rule is None else MaskRule(**spec.mask_rule),
        threads=machine.threads,
        class_index=spec.class_index,
    )
    return LoadedTask(spec, classifier, catalog, image, task)


def load_image(spec: StudySpec, machine: Machine) -> tuple[Classifier, Catalog, StudyImage]:
    """A study's classifier, its catalogue reduced to its image, and the image in the classifier's
    geometry."""
    catalog = load_catalog(spec.catalog)
    classifier = kept_classifier(
        {
            "model": spec.model,
            "weights": spec.weights,
            "device": machine.device,
            "cam_layer": spec.cam_layer,
            "crop": None if catalog.geometry is None else catalog.geometry.crop,
        }
    )
    catalog = catalog.only((spec.key,))
    image = load_study_image(catalog, catalog.images[0], classifier.geometry, machine.assets)
    return classifier, catalog, image


def prepare_process(machine: Machine) -> None:
    """Prepare this process for running trials: threads, quiet libraries, memory allocation."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    torch.set_num_threads(machine.threads)
    keep_freed_memory()


def open_cache(machine: Machine) -> PredictionCache:
    """Open the prediction cache of this machine."""
    return PredictionCache(machine.cache or cache_folder() / "bank")


def fresh_classifier(spec: Mapping[str, Any]) -> Classifier:
    """Load the classifier anew, as its files may have changed, and cache it."""
    _loaded.cache_clear()
    return kept_classifier(spec)


def kept_classifier(spec: Mapping[str, Any]) -> Classifier:
    """The classifier of ``load_classifier(**spec)``; the last one is cached."""
    return _loaded(tuple(sorted(spec.items())))


@lru_cache(maxsize=1)
def _loaded(spec: tuple[tuple[str, Any], ...]) -> Classifier:
    return load_classifier(**dict(spec))


def kept_engine(classifier: Classifier, name: str, image: NDArray[np.uint8]) -> Engine:
    """An engine for images of this shape; the last one is cached.

    Args:
        name: see ``explainers.engines.ENGINES``.
        image: (H, W, 3) uint8.
    """
    key = (classifier.fingerprint, name, image.shape, torch.get_num_threads())
    if key not in _engines:
        _engines.clear()
        _engines[key] = make_engine(classifier, name, image=image, cache=cache_folder() / "engines")
    return _engines[key]


def kept_runtime_model(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """The runtime model of this machine for images of this shape; cached.

    Args:
        image: (H, W, 3) uint8.
    """
    key = (classifier.fingerprint, image.shape, torch.get_num_threads())
    if key not in _models:
        _models[key] = runtime_model_for(classifier, image)
    return _models[key]
