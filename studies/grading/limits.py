"""What a submission may ask for: looked at before any work is done for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explainers.errors import InvalidParameters
from explainers.lime_parameters import DISTANCE_METRICS, LIME_ARGUMENTS
from explainers.segmentation import SEGMENTERS
from studies.export import check_kwargs
from studies.plain_parameters import plain_kwargs

__all__ = ["Limits", "checked_submission"]

_REGRESSOR_MOST = {"max_iter": 10_000}
_SEGMENTATION_MOST = {"max_num_iter": 100, "max_iter": 100}


@dataclass(frozen=True)
class Limits:
    """The largest values that are accepted.

    Attributes:
        upload_bytes: of the pickle.
        samples, batch: of one explanation.
        superpixels: of one image; asked of a segmentation's parameters at once, and of the map
            itself before the image is explained.
        top_labels: each costs a fit.
        cutoff: seconds for a whole submission.
        memory_mb: of the process that evaluates it, the classifier included.
    """

    upload_bytes: int = 100_000
    samples: int = 5_000
    batch: int = 500
    superpixels: int = 1_000
    top_labels: int = 20
    cutoff: float = 600.0
    memory_mb: int = 4_000


def checked_submission(
    document: Any, keys: Sequence[str], limits: Limits
) -> dict[str, dict[str, Any]]:
    """The plain parameters of a submission, image by image.

    Raises:
        InvalidParameters: another form than a dict of all keys with the ten arguments each, a
            value that stock lime cannot work with, or one above the limits; one line.
    """
    if not isinstance(document, dict) or not all(isinstance(v, dict) for v in document.values()):
        raise InvalidParameters(
            "the pickle is no dictionary of images, each a dictionary of keyword arguments"
        )
    surplus = [str(key) for key in document if key not in keys]
    if surplus:
        raise InvalidParameters(
            f"there is no image '{surplus[0][:60]}' here: the keys are {', '.join(keys)}"
        )
    for key, kwargs in document.items():
        missing = [name for name in LIME_ARGUMENTS if name not in kwargs]
        if missing:
            raise InvalidParameters(
                f"{key}: {missing[0]} is missing: give all of {', '.join(LIME_ARGUMENTS)}"
            )
    fatal = [complaint for complaint in check_kwargs(document, keys) if complaint.fatal]
    if fatal:
        raise InvalidParameters(str(fatal[0]))
    found = {}
    for key in keys:
        found[key] = plain_kwargs(document[key])
        try:
            _check_size(found[key], limits)
        except InvalidParameters as error:
            raise InvalidParameters(f"{key}: {error}") from error
    return found


def _check_size(plain: Mapping[str, Any], limits: Limits) -> None:
    for name, most in (
        ("num_samples", limits.samples),
        ("batch_size", limits.batch),
        ("top_labels", limits.top_labels),
    ):
        # A batch is never larger than the samples.
        value = plain[name] if name != "batch_size" else min(plain[name], plain["num_samples"])
        if value > most:
            raise InvalidParameters(f"{name}={plain[name]} is more than the {most} allowed here")
    if plain["num_samples"] < 2:
        raise InvalidParameters("num_samples=1 leaves nothing to fit: give at least 2")
    if plain["distance_metric"] not in DISTANCE_METRICS:
        raise InvalidParameters(
            f"distance_metric={str(plain['distance_metric'])[:40]!r} does not work with lime: use "
            f"one of {', '.join(DISTANCE_METRICS)}"
        )
    if plain["random_seed"] is not None and plain["random_seed"] >= 2**32:
        raise InvalidParameters("random_seed must be below 2**32")
    _check_regressor(plain["model_regressor"])
    _check_segmentation(plain["segmentation_fn"], limits)


def _check_regressor(regressor: Mapping[str, Any] | None) -> None:
    for name, most in _REGRESSOR_MOST.items():
        value = (regressor or {}).get(name)
        if isinstance(value, (int, float)) and value > most:
            raise InvalidParameters(f"model_regressor's {name}={value} is more than {most}")


def _check_segmentation(segmentation: Mapping[str, Any] | None, limits: Limits) -> None:
    if segmentation is None:
        return
    algorithm = segmentation["algorithm"]
    known = SEGMENTERS[algorithm].parameters
    for name, value in segmentation.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        low, high = known[name][1:] if name in known else (-1e9, 1e9)
        high = min(high, _SEGMENTATION_MOST.get(name, high))
        if name == "n_segments":
            high = limits.superpixels
        if not low <= value <= high:
            raise InvalidParameters(
                f"segmentation_fn's {name}={value} is outside {low:g} to {high:g}"
            )
