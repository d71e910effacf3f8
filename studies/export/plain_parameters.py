"""Keyword arguments of ``explain_instance`` as plain JSON values, and back as stock objects.

Submissions, sent or received, are stored and passed on in this form, as it can hold nothing but
numbers and names. It is the form of the public parameter sets: a segmentation is ``null`` or
``{"algorithm": "slic", "n_segments": 12}``, a regressor is ``null`` or
``{"name": "Ridge", "alpha": 0.1}``, and tuples are lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lime.wrappers.scikit_image import SegmentationAlgorithm
from sklearn import linear_model

from explainers.errors import InvalidParameters
from explainers.lime import REGRESSORS, SEGMENTERS

__all__ = [
    "parameters_digest", "plain_kwargs", "stock_kwargs", "stock_regressor", "stock_segmentation",
    "without_own_attributes",
]  # fmt: skip

_SEVERAL = ("sigma", "spacing")
"""Parameters of segmentations that may have one number for each dimension."""
_MOST_NUMBERS = 3
"""Numbers in one parameter of a segmentation, e.g. slic's ``spacing``; more could be a map."""


def plain_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Convert stock keyword arguments to JSON values.

    Raises:
        InvalidParameters: a value is neither a number, a text nor a stock object.
    """
    return {name: _plain(name, value) for name, value in kwargs.items()}


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if isinstance(value, type):
        raise InvalidParameters(f"{name} holds the class {value.__name__}: give an object of it")
    if hasattr(value, "target_params"):
        return {"algorithm": value.algo_type, **_plain_mapping(value.target_params)}
    if hasattr(value, "get_params"):
        return {"name": type(value).__name__, **_plain_mapping(value.get_params())}
    raise InvalidParameters(
        f"{name} holds a {type(value).__name__}: give numbers, text, lime's SegmentationAlgorithm "
        "or a scikit-learn regressor"
    )


def _plain_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _plain(name, value) for name, value in sorted(values.items())}


def stock_kwargs(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Convert JSON values to stock keyword arguments, the inverse of :func:`plain_kwargs`.

    Each call makes new regressors, so that no fitted state is shared.

    Raises:
        InvalidParameters: see :func:`stock_segmentation` and :func:`stock_regressor`.
    """
    made = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
    segmentation, regressor = made.get("segmentation_fn"), made.get("model_regressor")
    if isinstance(segmentation, Mapping):
        parameters = dict(segmentation)
        made["segmentation_fn"] = stock_segmentation(parameters.pop("algorithm", None), parameters)
    if isinstance(regressor, Mapping):
        parameters = dict(regressor)
        made["model_regressor"] = stock_regressor(parameters.pop("name", None), parameters)
    return made


def stock_segmentation(algorithm: Any, parameters: Mapping[str, Any]) -> SegmentationAlgorithm:
    """Make lime's ``SegmentationAlgorithm`` with a few numbers, too few for a hidden map.

    Raises:
        InvalidParameters: lime does not have the algorithm, or a parameter is not a number.
    """
    if not isinstance(algorithm, str) or algorithm not in SEGMENTERS:
        raise InvalidParameters(
            f"segmentation_fn uses the algorithm {str(algorithm)[:60]!r}: lime has "
            f"{', '.join(SEGMENTERS)}"
        )
    for name, value in parameters.items():
        several = isinstance(value, (list, tuple)) and name in _SEVERAL
        numbers = list(value) if several else [value]
        if len(numbers) > _MOST_NUMBERS or not all(_is_scalar(item) for item in numbers):
            raise InvalidParameters(
                f"segmentation_fn's {name[:60]} is no number: a segmentation looks at the image "
                "and carries nothing of its own"
            )
    return SegmentationAlgorithm(
        algorithm,
        **{n: tuple(v) if isinstance(v, (list, tuple)) else v for n, v in parameters.items()},
    )


def stock_regressor(name: Any, parameters: Mapping[str, Any]) -> Any:
    """Make a new, unfitted scikit-learn regressor.

    Raises:
        InvalidParameters: lime cannot work with the class, or the class does not have a parameter.
    """
    if not isinstance(name, str) or name not in REGRESSORS:
        raise InvalidParameters(
            f"model_regressor is a {str(name)[:60]!r}: use one of {', '.join(REGRESSORS)}"
        )
    kind = getattr(linear_model, name)
    known = kind().get_params()
    for parameter, value in parameters.items():
        if parameter not in known:
            raise InvalidParameters(
                f"model_regressor carries {parameter[:60]!r}, which {name}'s constructor does not "
                f"take: it takes {', '.join(known) or 'none'}"
            )
        if not _is_scalar(value):
            raise InvalidParameters(
                f"model_regressor's {parameter} is a {type(value).__name__}: give a number or text"
            )
    return kind(**parameters)


def without_own_attributes(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Remove attributes of an unfitted regressor that are no parameters of its constructor.

    For example, a ``Lasso`` has the attribute ``l1_ratio`` of its base class ``ElasticNet``.

    Args:
        name: one of ``REGRESSORS``.
    """
    fresh = getattr(linear_model, name)()
    own = {key: vars(fresh)[key] for key in vars(fresh).keys() - fresh.get_params().keys()}
    return {key: value for key, value in values.items() if key not in own or own[key] != value}


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def parameters_digest(plain: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the sha256 of the plain parameters of all images."""
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
