"""Look up what the trials of a storage measured with the parameters of a pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explainers.errors import InvalidParameters
from explainers.lime import LimeParameters
from studies.export import settings_digest
from studies.queries import complete_trials
from studies.storage import holds_studies

__all__ = ["Prediction", "mean_prediction", "predictions"]

_ATTRIBUTES = ("lime_parameters", "iou", "runtime_seconds")


@dataclass(frozen=True)
class Prediction:
    """IoU and seconds that a trial measured.

    Attributes:
        iou: mean over its seeds, in [0, 1].
        seconds: of one explanation, by the runtime model.
    """

    iou: float
    seconds: float


def mean_prediction(found: Mapping[str, Prediction], keys: Sequence[str]) -> Prediction | None:
    """Return the mean over images; ``None`` where one of them has no prediction."""
    if not keys or any(key not in found for key in keys):
        return None
    return Prediction(
        sum(found[key].iou for key in keys) / len(keys),
        sum(found[key].seconds for key in keys) / len(keys),
    )


def predictions(
    storage: str, prefix: str, document: Mapping[str, Mapping[str, Any]]
) -> dict[str, Prediction]:
    """Return what the study ``PREFIX/KEY`` measured with exactly the arguments of each image.

    Of several finished trials with these arguments the best score counts; images without any are
    left out. The result is empty for a storage that does not exist.

    Args:
        document: keyword arguments by image key.

    Raises:
        StorageError: the storage cannot be read.
    """
    if not holds_studies(storage):
        return {}
    keys = {f"{prefix}/{key}": key for key in document}
    wanted = {key: settings_digest(kwargs) for key, kwargs in document.items()}
    digests: dict[str, str | None] = {}  # a cache, as trials often repeat parameters
    best: dict[str, tuple[float, Prediction]] = {}
    for study, score, attributes in complete_trials(storage, list(keys), _ATTRIBUTES):
        key, text = keys.get(study), attributes["lime_parameters"]
        if text not in digests:
            digests[text] = _digest(text)
        if key is None or digests[text] != wanted[key]:
            continue
        if key not in best or score > best[key][0]:
            found = Prediction(float(attributes["iou"]), float(attributes["runtime_seconds"]))
            best[key] = (score, found)
    return {key: found for key, (_, found) in best.items()}


def _digest(text: str) -> str | None:
    try:
        return settings_digest(LimeParameters.from_json(text).as_kwargs())
    except InvalidParameters:  # a trial of another version, which cannot equal these arguments
        return None
