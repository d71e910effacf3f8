"""LIME's parameters: one full set of keyword arguments for ``explain_instance``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidParameters
from explainers.lime.perturbation import HideColor
from explainers.lime.segmentation import Segmentation

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

LIME_ARGUMENTS = (
    "labels", "hide_color", "top_labels", "num_features", "num_samples", "batch_size",
    "segmentation_fn", "distance_metric", "model_regressor", "random_seed",
)  # fmt: skip
"""The keyword arguments of lime 0.2.0.1's ``explain_instance`` but image and classifier_fn."""

DISTANCE_METRICS = (
    "cosine", "euclidean", "l1", "l2", "manhattan", "chebyshev", "minkowski", "sqeuclidean",
    "hamming", "jaccard", "dice", "yule", "canberra", "braycurtis", "rogerstanimoto",
    "russellrao", "matching", "nan_euclidean",
)  # fmt: skip
"""Names that scikit-learn's ``pairwise_distances`` computes on lime's 0/1 rows without error."""

REGRESSORS: Mapping[str, tuple[str, ...]] = {
    "Ridge": ("alpha",),
    "LinearRegression": (),
    "BayesianRidge": (),
    "HuberRegressor": ("alpha", "epsilon"),
    "Lasso": ("alpha",),
    "ElasticNet": ("alpha", "l1_ratio"),
}
"""scikit-learn regressors with ``coef_`` and ``sample_weight``, and the parameters we may set."""


@dataclass(frozen=True)
class Regressor:
    """A surrogate model by name, e.g. ``Regressor.of("Ridge", alpha=0.1)``."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.name not in REGRESSORS:
            raise InvalidParameters(
                f"model_regressor {self.name!r} is unknown: use one of {', '.join(REGRESSORS)}"
            )
        cleaned = []
        for name, value in sorted(self.parameters):
            if name not in REGRESSORS[self.name]:
                allowed = ", ".join(REGRESSORS[self.name]) or "none"
                raise InvalidParameters(f"{self.name} parameter {name!r}: allowed are {allowed}")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidParameters(f"{self.name} {name}={value!r} is not a number")
            if not (math.isfinite(value) and value >= 0):
                raise InvalidParameters(f"{self.name} {name}={value!r} must be finite and >= 0")
            if (name == "epsilon" and value < 1) or (name == "l1_ratio" and value > 1):
                allowed = "at least 1" if name == "epsilon" else "at most 1"
                raise InvalidParameters(f"{self.name} {name}={value!r} must be {allowed}")
            cleaned.append((name, float(value)))
        object.__setattr__(self, "parameters", tuple(cleaned))

    @classmethod
    def of(cls, name: str, **parameters: float) -> Regressor:
        """A regressor by keyword arguments."""
        return cls(name, tuple(parameters.items()))

    def as_sklearn(self) -> RegressorMixin:
        """A fresh, unfitted scikit-learn regressor."""
        from sklearn import linear_model  # slow to import, and needed here only

        return getattr(linear_model, self.name)(**dict(self.parameters))


# Parameters that are values of a class with a name and parameters; the name's key in JSON.
_CHOICES: Mapping[str, tuple[type[Segmentation] | type[Regressor], str]] = {
    "segmentation": (Segmentation, "algorithm"),
    "regressor": (Regressor, "name"),
}


@dataclass(frozen=True)
class LimeParameters:
    """Keyword arguments of ``lime_image.LimeImageExplainer.explain_instance``.

    For example::

        parameters = LimeParameters(
            segmentation=Segmentation.of("slic", n_segments=20, compactness=10),
            num_samples=200,
            regressor=Regressor.of("Ridge", alpha=0.1),
        )
        LimeImageExplainer().explain_instance(image, predict, **parameters.as_kwargs())
        assert LimeParameters.from_json(parameters.to_json()) == parameters

    The defaults are lime's own. ``segmentation=None`` is lime's default quickshift,
    ``hide_color=None`` hides a superpixel behind its mean colour, ``regressor=None`` is
    ``Ridge(alpha=1)``.

    Raises:
        InvalidParameters: a value that lime or scikit-learn would reject, or silently misread.
    """

    segmentation: Segmentation | None = None
    hide_color: HideColor = None
    labels: tuple[int, ...] = (1,)
    top_labels: int | None = 5
    num_features: int = 100000
    num_samples: int = 1000
    batch_size: int = 10
    distance_metric: str = "cosine"
    regressor: Regressor | None = field(default=None)
    random_seed: int | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("num_features", 1, 10**9),
            ("num_samples", 2, 10**6),
            ("batch_size", 1, 10**5),
        ):
            _whole(name, getattr(self, name), low, high)
        if self.top_labels is not None:
            _whole("top_labels", self.top_labels, 1, 10**5)
        if self.random_seed is not None:
            _whole("random_seed", self.random_seed, 0, 2**32 - 1)
        colours = self.hide_color if isinstance(self.hide_color, tuple) else (self.hide_color,)
        if isinstance(self.hide_color, tuple) and len(colours) != 3:
            raise InvalidParameters(f"hide_color={self.hide_color!r} must have three channels")
        for colour in colours:
            if colour is not None:
                _whole("hide_color", colour, 0, 255)
        for name, (kind, _) in _CHOICES.items():
            if not isinstance(getattr(self, name), kind | None):
                raise InvalidParameters(f"{name}={getattr(self, name)!r} must name its parameters")
        if not isinstance(self.labels, (tuple, list)):
            raise InvalidParameters(f"labels={self.labels!r} must be a list of class numbers")
        object.__setattr__(self, "labels", tuple(self.labels))
        for label in self.labels:
            _whole("labels", label, 0, 10**6)
        if self.distance_metric not in DISTANCE_METRICS:
            raise InvalidParameters(
                f"distance_metric={self.distance_metric!r} does not work with lime: "
                f"use one of {', '.join(DISTANCE_METRICS)}"
            )

    @property
    def label(self) -> int | None:
        """The class that is explained; ``None`` for the likeliest, whichever that is."""
        return None if self.top_labels is not None or not self.labels else self.labels[0]

    def about(self, label: int | None) -> LimeParameters:
        """The same settings for another class; ``None`` is the likeliest.

        lime looks at ``labels`` only where ``top_labels`` is not given.
        """
        if label is not None:
            return replace(self, labels=(label,), top_labels=None)
        return self if self.top_labels is not None else replace(self, labels=(1,), top_labels=1)

    @property
    def are_default(self) -> bool:
        """Whether these are lime's own settings, whichever class is explained."""
        return self == LimeParameters().about(self.label)

    def as_kwargs(self) -> dict[str, Any]:
        """The ten keyword arguments, as fresh stock objects that pickle without this package."""
        values = {name: getattr(self, name, None) for name in LIME_ARGUMENTS}
        values["segmentation_fn"] = self.segmentation and self.segmentation.as_lime()
        values["model_regressor"] = self.regressor and self.regressor.as_sklearn()
        return values

    def to_json(self) -> str:
        """One line of JSON; equal parameters give equal text."""
        document: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, (_, named) in _CHOICES.items():
            choice = document[name]
            if choice is not None:
                document[name] = {named: getattr(choice, named), **dict(choice.parameters)}
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LimeParameters:
        """The inverse of :meth:`to_json`; missing names take lime's defaults.

        Raises:
            InvalidParameters: not JSON, not an object, an unknown name or a bad value.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InvalidParameters(f"LIME parameters are not JSON ({error})") from error
        if not isinstance(document, dict):
            raise InvalidParameters(f"LIME parameters are a JSON object, not {text[:40]!r}")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise InvalidParameters(
                f"unknown LIME parameter {unknown[0]!r}: known are {', '.join(sorted(known))}"
            )
        values = dict(document)
        for name, (kind, named) in _CHOICES.items():
            if isinstance(values.get(name), dict):
                choice = dict(values[name])
                values[name] = kind(str(choice.pop(named, "")), tuple(choice.items()))
        if isinstance(values.get("hide_color"), list):
            values["hide_color"] = tuple(values["hide_color"])
        return cls(**values)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidParameters(f"{name}={value!r} must be a whole number from {low} to {high}")
