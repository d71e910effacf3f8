"""The exported pickle: by image key, a dict of the ten keyword arguments of stock lime."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explainers.errors import InvalidInput, InvalidParameters, StorageError
from explainers.lime import LIME_ARGUMENTS, LimeParameters
from studies.export.restricted_pickle import load_restricted

__all__ = [
    "Complaint", "check_kwargs", "explained_class", "export_pickle", "pickled", "read_pickle",
    "settings_digest", "ungraded",
]  # fmt: skip

# Protocol 4 loads in every Python that lime runs on.
_PROTOCOL = 4


@dataclass(frozen=True)
class Complaint:
    """One fault of a pickle of parameters.

    Attributes:
        key: of the image.
        text: one line without the key.
        fatal: whether stock lime would reject or misread the entry.
    """

    key: str
    text: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def pickled(parameters: Mapping[str, LimeParameters]) -> bytes:
    """Return the pickle, after reading it back through the restricted loader.

    Raises:
        InvalidParameters: the loader would refuse it.
    """
    document = {key: value.as_kwargs() for key, value in parameters.items()}
    data = pickle.dumps(document, protocol=_PROTOCOL)
    read = load_restricted(data)
    complaints = [c for c in check_kwargs(read, tuple(parameters), graded=False) if c.fatal]
    if complaints:
        raise InvalidParameters(f"the export would not load: {complaints[0]}")
    return data


def export_pickle(parameters: Mapping[str, LimeParameters], path: Path) -> None:
    """Write the pickle atomically, after reading it back through the restricted loader.

    Raises:
        InvalidInput: the target is a folder, or its folder does not exist.
        StorageError: it cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInput(
            f"{path} cannot be written: give the path of a file in a folder that exists"
        )
    data = pickled(parameters)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror})") from error


def read_pickle(path: Path) -> dict[str, dict[str, Any]]:
    """Read a pickle of parameters from any source through the restricted loader.

    Raises:
        InvalidInput: the file cannot be read, or holds no dict of dicts.
        UnsafePickle: see :func:`studies.export.restricted_pickle.load_restricted`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}): give a pickle") from error
    document = load_restricted(data)
    if not isinstance(document, dict) or not document:
        raise InvalidInput(
            f"{path} holds {type(document).__name__}, not a dict of images: "
            "each key must hold a dict of keyword arguments"
        )
    if set(document) <= set(LIME_ARGUMENTS):
        raise InvalidInput(
            f"{path} holds the arguments of one explanation: put them under the image's key, "
            "{'KEY': {...}}"
        )
    for key, value in document.items():
        if not isinstance(key, str) or not isinstance(value, dict):
            raise InvalidInput(
                f"{path}: the entry {key!r} is a {type(value).__name__}: every entry is a text "
                "key with a dict of keyword arguments"
            )
    return document


def explained_class(kwargs: Mapping[str, Any]) -> int | None:
    """Return the class index that keyword arguments ask lime for; ``None`` for the likeliest class.

    lime uses ``labels`` only without ``top_labels``.
    """
    labels = kwargs.get("labels", (1,))
    if kwargs.get("top_labels", 5) or labels is None or not len(labels):
        return None
    return int(labels[0])


def ungraded(labels: Mapping[str, int | None]) -> str:
    """Warn of entries that a grading server which reads lime's top label cannot grade.

    Args:
        labels: results of :func:`explained_class` by key.

    Returns:
        One line; empty where every entry explains the likeliest class.
    """
    asked = {key: label for key, label in labels.items() if label is not None}
    if not asked:
        return ""
    key, label = next(iter(asked.items()))
    more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
    return (
        f"'{key}'{more} asks for a class by its number (labels=({label},), top_labels=None): stock "
        "lime and verify explain it, but a grading server that reads the top label cannot grade it"
    )


def settings_digest(kwargs: Mapping[str, Any]) -> str:
    """Return a sha256 of keyword arguments that is equal for equal arguments.

    It covers the algorithm and parameters of lime's segmentation, and the class and parameters of a
    regressor, instead of the objects themselves.
    """

    def described(value: Any) -> Any:
        if hasattr(value, "target_params"):
            return [value.algo_type, value.target_params]
        if hasattr(value, "get_params"):
            return [type(value).__name__, value.get_params()]
        return repr(value)

    text = json.dumps(dict(kwargs), sort_keys=True, default=described)
    return hashlib.sha256(text.encode()).hexdigest()


def check_kwargs(
    document: Mapping[str, Mapping[str, Any]], keys: Sequence[str], *, graded: bool = True
) -> list[Complaint]:
    """List the faults of a pickle's content.

    Args:
        keys: the catalogue's keys.
        graded: whether it is for a grading server, which reads the mask of lime's top label;
            otherwise ``labels`` may name the class.
    """
    complaints = [
        Complaint(key, "is missing: the catalogue has it, the pickle does not", True)
        for key in keys
        if key not in document
    ]
    for key, kwargs in document.items():
        if key not in keys:
            complaints.append(Complaint(key, "is not in the catalogue and is left out", False))
            continue
        complaints += [
            Complaint(key, f"has no {name}: lime's default is used", False)
            for name in LIME_ARGUMENTS
            if name not in kwargs
        ]
        complaints += [
            Complaint(
                key,
                f"has {name!r}, which lime 0.2.0.1's explain_instance does not take: remove it",
                True,
            )
            for name in kwargs
            if name not in LIME_ARGUMENTS
        ]
        for name in LIME_ARGUMENTS:
            fits, must = _CHECKS[name]
            if name not in kwargs or fits(kwargs[name]):
                continue
            if name != "top_labels" or graded or not _names_a_class(kwargs):
                complaints.append(Complaint(key, f"{name}={_short(kwargs[name])} {must}", True))
    return complaints


def _names_a_class(kwargs: Mapping[str, Any]) -> bool:
    return _are_labels(kwargs.get("labels", (1,))) and explained_class(kwargs) is not None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _whole(value: Any, low: int) -> bool:
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_whole and int(value) >= low


def _is_count(value: Any) -> bool:
    return _whole(value, 1)


def _are_labels(value: Any) -> bool:
    return value is None or (
        isinstance(value, (tuple, list)) and all(_whole(each, 0) for each in value)
    )


def _is_colour(value: Any) -> bool:
    values = value if isinstance(value, (tuple, list)) else (value,)
    return len(values) in (1, 3) and all(each is None or _is_channel(each) for each in values)


def _is_channel(value: Any) -> bool:
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    return is_number and not isinstance(value, bool) and 0 <= float(value) <= 255  # NaN fails


_COUNT = (_is_count, "must be a whole number from 1")
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_are_labels, "must be a tuple of class numbers"),
    "hide_color": (_is_colour, "must be None, a grey value from 0 to 255, or three of them"),
    "top_labels": (
        _is_count,
        "must be a whole number from 1: a server reads the mask of the first of them, whatever "
        "labels say",
    ),
    "num_features": _COUNT,
    "num_samples": _COUNT,
    "batch_size": _COUNT,
    "segmentation_fn": (
        lambda value: value is None or callable(value), "must be None or callable"
    ),
    "distance_metric": (lambda value: isinstance(value, str), "must be the name of a metric"),
    "model_regressor": (
        lambda value: value is None or (hasattr(value, "fit") and hasattr(value, "predict")),
        "must be None or a scikit-learn regressor",
    ),
    "random_seed": (
        lambda value: value is None or _whole(value, 0), "must be None or a whole number"
    ),
}  # fmt: skip
"""By argument: whether stock lime can work with a value, and the text of the requirement."""
