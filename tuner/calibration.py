"""The runtime model of this machine, measured once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner.runtime_model import RuntimeModel, calibrate, device_name

if TYPE_CHECKING:
    from explainers.classifier import Classifier

__all__ = ["runtime_model_for"]


def runtime_model_for(classifier: Classifier, image: NDArray[np.uint8]) -> RuntimeModel:
    """Measured for this classifier on this device, or read back from an earlier run.

    Args:
        image: (H, W, 3) uint8 of the study's geometry.
    """
    from studies.assets import cache_folder

    key = json.dumps([device_name(classifier), classifier.fingerprint, image.shape])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache_folder() / "runtime" / f"{name}.json"
    stored = _read(path)
    if stored is not None:
        return stored
    model = calibrate(classifier, image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(model.to_json())
        temporary.replace(path)
    except OSError:
        return model  # a cache that cannot be written costs a few seconds next time
    return model


def _read(path: Path) -> RuntimeModel | None:
    try:
        return RuntimeModel.from_json(path.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing, or of another version
