"""Check a submission's parameters against limits, before any work is done for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from explainers.errors import InvalidParameters
from explainers.lime import DISTANCE_METRICS, LIME_ARGUMENTS, SEGMENTERS
from explainers.messages import one_line
from studies.export import check_kwargs, plain_kwargs
from studies.web.evaluator import Limits

__all__ = ["checked_submission"]

_Range = tuple[float, float]
_USUAL: _Range = (-1e6, 1e6)
"""Range of numbers without one of their own; skimage and scikit-learn need no larger ones."""
_SEEDS: _Range = (0, 2**32 - 1)
_COMMON: Mapping[str, _Range] = {
    "random_state": _SEEDS, "random_seed": _SEEDS, "rng": _SEEDS, "n_jobs": (-64, 64),
}  # fmt: skip
_REGRESSOR: Mapping[str, _Range] = {**_COMMON, "max_iter": (1, 10_000), "alpha": (0, 1e12)}
_SEGMENTATION: Mapping[str, _Range] = {
    **_COMMON, "max_num_iter": (1, 100), "max_iter": (1, 100), "spacing": (0.1, 10),
    "min_size_factor": (0, 100), "max_size_factor": (0, 100), "channel_axis": (-1, 2),
}  # fmt: skip
_ARGUMENTS: Mapping[str, _Range] = {
    "labels": (0, 1e6), "hide_color": (0, 255), "num_features": (1, 1e9), "num_samples": (2, 1e6),
    "batch_size": (1, 1e9), "top_labels": (1, 1e5), "random_seed": _SEEDS,
}  # fmt: skip
_MOST_LABELS = 1_000


def checked_submission(
    document: Any, keys: Sequence[str], limits: Limits
) -> dict[str, dict[str, Any]]:
    """Return the plain parameters of a submission, by image key.

    Raises:
        InvalidParameters: it is not a dict of known keys with all ten arguments each, or has a
            value that stock lime cannot work with, or that exceeds the limits.
    """
    if not isinstance(document, dict) or not all(isinstance(v, dict) for v in document.values()):
        raise InvalidParameters(
            "the pickle is no dictionary of images, each a dictionary of keyword arguments"
        )
    surplus = [str(key) for key in document if key not in keys]
    if surplus:
        raise InvalidParameters(
            f"there is no image '{one_line(surplus[0], 60)}' here: the keys are {', '.join(keys)}"
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
            f"distance_metric='{one_line(str(plain['distance_metric']), 40)}' does not work with "
            f"lime: use one of {', '.join(DISTANCE_METRICS)}"
        )
    if plain["labels"] is not None and len(plain["labels"]) > _MOST_LABELS:
        raise InvalidParameters(
            f"labels has {len(plain['labels'])} class numbers: at most {_MOST_LABELS} are explained"
        )
    for name, bounds in _ARGUMENTS.items():
        _check_numbers(name, plain[name], bounds)
    for name, value in (plain["model_regressor"] or {}).items():
        _check_numbers(f"model_regressor's {name}", value, _REGRESSOR.get(name, _USUAL))
    _check_segmentation(plain["segmentation_fn"], limits)


def _check_segmentation(segmentation: Mapping[str, Any] | None, limits: Limits) -> None:
    if segmentation is None:
        return
    known = SEGMENTERS[segmentation["algorithm"]].parameters
    for name, value in segmentation.items():
        bounds = _SEGMENTATION.get(name, _USUAL)
        if name in known:
            bounds = known[name][1:]
        if name == "n_segments":
            bounds = (bounds[0], limits.superpixels)
        _check_numbers(f"segmentation_fn's {name}", value, bounds)


def _check_numbers(what: str, value: Any, bounds: _Range) -> None:
    """Refuse a value that is, or contains at any depth, a number out of bounds."""
    low, high = bounds
    for number in _numbers(value):
        if not low <= number <= high:  # true for NaN
            raise InvalidParameters(
                f"{what}={one_line(str(value), 40)} is outside {low:g} to {high:g}"
            )


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner)
