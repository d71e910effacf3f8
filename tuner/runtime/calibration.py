"""The runtime model of this machine, measured once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput
from studies.catalog.assets import cache_folder
from tuner.runtime.measurement import PROBES, calibrate, device_name
from tuner.runtime.model import RuntimeModel

if TYPE_CHECKING:
    from explainers.classifiers import Classifier

__all__ = ["runtime_model_for"]

_TIMED = ("torch", "scikit-image", "scikit-learn", "lime")
_logger = logging.getLogger(__name__)


def runtime_model_for(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """The model of this classifier on this device: measured now, or read from the cache.

    A model with a ``doubt`` is not kept for later runs.

    Args:
        image: (H, W, 3) uint8, any image of the study's geometry.
    """
    versions = [metadata.version(name) for name in _TIMED]
    key = json.dumps([device_name(classifier), classifier.fingerprint, image.shape, versions])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache_folder() / "runtime" / f"{name}.json"
    stored = _read(path)
    if stored is not None:
        return stored
    model = calibrate(classifier, image)
    if model.doubt is not None:
        _logger.info("modelled seconds are not to be trusted: %s", model.doubt)
        return model
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(model.to_json())
        temporary.replace(path)
    except OSError:
        pass  # without a cache the model is measured again next time, in a few seconds
    return model


def _read(path: Path) -> RuntimeModel | None:
    try:
        model = RuntimeModel.from_json(path.read_text())
    except (OSError, UnicodeDecodeError, InvalidInput):
        return None  # missing, damaged, or of another version
    return model if set(PROBES) <= set(model.segmentation) else None
