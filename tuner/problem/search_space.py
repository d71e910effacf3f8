"""The search space: the choices for every argument of ``explain_instance`` that matters.

Parameters of the superpixel map lie on a grid, so that trials share maps and predictions. A space
is plain data: it can be narrowed (``--fix name=value``) or replaced (``--space FILE``).
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidInput, InvalidParameters
from explainers.lime import DISTANCE_METRICS, SEGMENTERS, LimeParameters, Regressor, Segmentation

if TYPE_CHECKING:
    import optuna

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "ALL_FEATURES", "CATEGORICAL_DIMENSIONS", "HIDE_COLORS", "LIME_DEFAULT", "SearchSpace",
    "load_space",
]  # fmt: skip

Value = int | float | str | None
LIME_DEFAULT = "lime"  # segmentation or regressor that lime uses when it is given None
ALL_FEATURES = "all"
_ALL = LimeParameters().num_features

HIDE_COLORS: Mapping[str, int | None] = {"mean": None, "black": 0, "grey": 127, "white": 255}
"""Values of ``hide_color`` by name; ``mean``, lime's default, is each superpixel's mean colour."""

_REGRESSOR = re.compile(r"(\w+)(?:\((.*)\))?")

_DEFAULT_MAPS: Mapping[str, Mapping[str, tuple[int | float, ...]]] = {
    LIME_DEFAULT: {},
    "quickshift": {
        "kernel_size": (2, 3, 4, 6),  # time grows with the square: 6 takes 0.6 s, 8 over 1 s
        "max_dist": (10, 25, 100),
        "ratio": (0.2, 0.5, 1.0),
    },
    "slic": {
        "n_segments": (4, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50),
        "compactness": (1, 5, 20, 50),
        "sigma": (0, 2, 5),
    },
    "felzenszwalb": {
        "scale": (50, 100, 200, 400, 800),
        "sigma": (0.5, 1.0, 2.0, 3.0),
        "min_size": (50, 150, 300, 600, 1000, 1500),
    },
}


@dataclass(frozen=True)
class SearchSpace:
    """The choices of each dimension.

    Attributes:
        maps: algorithm → parameter → grid; ``lime`` is lime's own default quickshift.
        num_samples: smallest and largest number, searched on a log scale.
        regressor: texts such as ``lime``, ``Ridge(alpha=0.1)``, ``BayesianRidge``.
    """

    maps: Mapping[str, Mapping[str, tuple[int | float, ...]]] = field(
        default_factory=lambda: dict(_DEFAULT_MAPS)
    )
    hide_color: tuple[str, ...] = tuple(HIDE_COLORS)
    num_features: tuple[Value, ...] = (1, 2, 3, 4, 5, 6, 7, 8, ALL_FEATURES)
    num_samples: tuple[int, int] = (16, 1000)
    batch_size: tuple[Value, ...] = (5, 10, 16, 32)
    top_labels: tuple[Value, ...] = (1, 2, 5)
    distance_metric: tuple[str, ...] = ("cosine", "hamming", "braycurtis")
    # Not BayesianRidge: its number of iterations depends on the seventh digit of the predictions,
    # so its explanations change with the batch size.
    regressor: tuple[str, ...] = (
        LIME_DEFAULT, "Ridge(alpha=0.01)", "Ridge(alpha=0.1)", "Ridge(alpha=10)",
        "LinearRegression",
    )  # fmt: skip
    random_seed: tuple[Value, ...] = (None,)
    labels: tuple[Value, ...] = (1,)

    def __post_init__(self) -> None:
        for name in _DIMENSIONS:
            if not getattr(self, name):
                raise InvalidInput(f"search space: '{name}' has no values left")
        unknown = [a for a in self.maps if a != LIME_DEFAULT and a not in SEGMENTERS]
        if not self.maps or unknown:
            raise InvalidInput(
                f"search space: segmentation '{', '.join(unknown)}' is unknown: "
                f"use {LIME_DEFAULT}, {', '.join(SEGMENTERS)}"
            )
        low, high = self.num_samples
        if not 2 <= low <= high:
            raise InvalidInput(f"search space: num_samples {low} to {high} is no range from 2 up")
        for name, known, use in (
            ("hide_color", HIDE_COLORS, "use"), ("distance_metric", DISTANCE_METRICS, "use one of"),
        ):  # fmt: skip
            for value in getattr(self, name):
                if value not in known:
                    raise InvalidInput(f"search space: {name} '{value}': {use} {', '.join(known)}")
        for count in self.num_features:
            if count != ALL_FEATURES and (not isinstance(count, int) or count < 1):
                raise InvalidInput(
                    f"search space: num_features {count!r}: use whole numbers from 1, or 'all'"
                )
        if not all(isinstance(count, int) for count in self.top_labels):
            raise InvalidInput(
                "search space: top_labels without a number would explain another class than the "
                "reference's: use numbers from 1, and --target catalog for a class of your own"
            )
        try:  # the other values are checked by making parameters of them
            for regressor in self.regressor:
                _parse_regressor(regressor)
            for algorithm, grid in self.maps.items():
                for name, values in grid.items():
                    for value in values:
                        Segmentation(algorithm, ((name, value),))
            for name in ("batch_size", "top_labels", "random_seed"):
                for value in getattr(self, name):
                    LimeParameters(**{name: value})
            LimeParameters(labels=tuple(self.labels))  # type: ignore[arg-type]
        except InvalidParameters as error:
            raise InvalidInput(f"search space: {error}") from error

    def segmentations(self) -> Iterator[Segmentation | None]:
        """Every superpixel algorithm with every point of its grid; ``None`` is lime's default."""
        for algorithm, grid in self.maps.items():
            if algorithm == LIME_DEFAULT:
                yield None
                continue
            for values in itertools.product(*grid.values()):
                yield Segmentation(algorithm, tuple(zip(grid, values, strict=True)))

    def suggest(self, trial: optuna.Trial) -> LimeParameters:
        """Let the trial suggest every dimension, branch by branch."""
        values: dict[str, Any] = {}
        algorithm = values["segmentation"] = trial.suggest_categorical(
            "segmentation", list(self.maps)
        )
        for name, grid in self.maps[algorithm].items():
            full = f"{algorithm}.{name}"
            values[full] = trial.suggest_categorical(full, list(grid))
        for name in CATEGORICAL_DIMENSIONS:
            values[name] = trial.suggest_categorical(name, list(getattr(self, name)))
        values["num_samples"] = trial.suggest_int("num_samples", *self.num_samples, log=True)
        return self.parameters(values)

    def parameters(self, values: Mapping[str, Any]) -> LimeParameters:
        """The arguments for lime from a trial's values by name."""
        count = values["num_features"]
        return LimeParameters(
            segmentation=self.segmentation(values),
            hide_color=HIDE_COLORS[values["hide_color"]],
            labels=tuple(int(label) for label in self.labels if label is not None),
            top_labels=values["top_labels"],
            num_features=_ALL if count == ALL_FEATURES else count,
            num_samples=int(values["num_samples"]),
            batch_size=values["batch_size"],
            distance_metric=values["distance_metric"],
            regressor=_parse_regressor(values["regressor"]),
            random_seed=self.random_seed[0],  # type: ignore[arg-type]
        )

    def segmentation(self, values: Mapping[str, Any]) -> Segmentation | None:
        """The superpixel algorithm from a trial's values; ``None`` is lime's default."""
        algorithm = values["segmentation"]
        if algorithm == LIME_DEFAULT:
            return None
        prefix = f"{algorithm}."
        inner = tuple((n[len(prefix) :], v) for n, v in values.items() if n.startswith(prefix))
        return Segmentation(algorithm, inner)

    def trial_values(self, parameters: LimeParameters) -> dict[str, Any] | None:
        """The inverse of :meth:`parameters`; ``None`` if the space does not contain them.

        Parameters for a certain class are treated like those for the likeliest.
        """
        values: dict[str, Any] = {
            "num_samples": parameters.num_samples,
            "batch_size": parameters.batch_size,
            "top_labels": parameters.top_labels
            or min(k for k in self.top_labels if isinstance(k, int)),
            "distance_metric": parameters.distance_metric,
            "num_features": (
                ALL_FEATURES if parameters.num_features == _ALL else parameters.num_features
            ),
        }
        colors = [name for name, c in HIDE_COLORS.items() if c == parameters.hide_color]
        values["hide_color"] = colors[0] if colors else "?"
        regressors = [r for r in self.regressor if _parse_regressor(r) == parameters.regressor]
        values["regressor"] = regressors[0] if regressors else "?"
        if parameters.segmentation is None:
            values["segmentation"] = LIME_DEFAULT
        else:
            values["segmentation"] = parameters.segmentation.algorithm
            for name, value in parameters.segmentation.parameters:
                full = f"{parameters.segmentation.algorithm}.{name}"
                grid = self.maps.get(parameters.segmentation.algorithm, {}).get(name, ())
                same = [v for v in grid if v == value]
                if not same:
                    return None
                values[full] = same[0]
        low, high = self.num_samples
        fits = (
            low <= values["num_samples"] <= high
            and values["segmentation"] in self.maps
            and all(values[name] in getattr(self, name) for name in CATEGORICAL_DIMENSIONS)
            and parameters.random_seed == self.random_seed[0]
            and (parameters.label is not None or parameters.labels == tuple(self.labels))
        )
        return values if fits else None

    def fix(self, assignments: Sequence[str]) -> SearchSpace:
        """Narrow dimensions to one value each, from texts ``name=value``.

        Names are dimensions (``num_samples=128``) or parameters of an algorithm
        (``slic.n_segments=20``); ``segmentation=slic`` keeps one algorithm.

        Raises:
            InvalidInput: there is no such dimension, or it cannot have that value.
        """
        space = self
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise InvalidInput(f"--fix {assignment}: write it as name=value")
            space = space._fix_one(name.strip(), text.strip())
        return space

    def _fix_one(self, name: str, text: str) -> SearchSpace:
        if name == "segmentation":
            if text not in self.maps:
                raise InvalidInput(f"--fix segmentation={text}: use one of {', '.join(self.maps)}")
            return replace(self, maps={text: self.maps[text]})
        value = _plain(text)
        if "." in name:
            algorithm, _, parameter = name.partition(".")
            if parameter not in self.maps.get(algorithm, {}):
                raise InvalidInput(
                    f"--fix {name}: no such dimension; there are {', '.join(self.dimensions())}"
                )
            grid = {**self.maps[algorithm], parameter: (value,)}
            return replace(self, maps={**self.maps, algorithm: grid})  # type: ignore[dict-item]
        if name not in _DIMENSIONS:
            raise InvalidInput(
                f"--fix {name}: no such dimension; there are {', '.join(self.dimensions())}"
            )
        if name == "num_samples":
            if not isinstance(value, int):
                raise InvalidInput(f"--fix num_samples={text}: use a whole number")
            return replace(self, num_samples=(value, value))
        if name in ("hide_color", "regressor", "distance_metric"):
            value = text
        return replace(self, **{name: (value,)})  # type: ignore[arg-type]

    def affordable(self, share: float) -> SearchSpace:
        """The space without numbers of samples above a share of those of lime's defaults.

        Args:
            share: of the defaults' number of samples, which make up nearly all of their runtime.

        Raises:
            InvalidInput: no number of samples is left.
        """
        defaults = LimeParameters().num_samples
        low, high = self.num_samples
        most = min(high, int(share * defaults))
        if most < low:
            raise InvalidInput(
                f"--most-runtime {share:g} allows {most} samples, the search space begins with "
                f"{low}: give at least {low / defaults:g}"
            )
        return replace(self, num_samples=(low, most))

    def dimensions(self) -> list[str]:
        """The names that ``--fix`` and a space file accept."""
        inner = [f"{a}.{p}" for a, grid in self.maps.items() for p in grid]
        return ["segmentation", *inner, *_DIMENSIONS]

    def to_json(self) -> str:
        """The space as one line of JSON."""
        return json.dumps(
            {"segmentation": self.maps, **{name: getattr(self, name) for name in _DIMENSIONS}},
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> SearchSpace:
        """The inverse of :meth:`to_json`."""
        document = json.loads(text)
        maps = {
            algorithm: {name: tuple(values) for name, values in grid.items()}
            for algorithm, grid in document.pop("segmentation").items()
        }
        return cls(maps=maps, **{name: tuple(values) for name, values in document.items()})


CATEGORICAL_DIMENSIONS = (
    "hide_color", "num_features", "batch_size", "top_labels", "distance_metric", "regressor",
)  # fmt: skip
_DIMENSIONS = (*CATEGORICAL_DIMENSIONS, "num_samples", "random_seed", "labels")


def load_space(path: Path) -> SearchSpace:
    """Read a space from a TOML file; dimensions it leaves out keep their default choices.

    ::

        num_features = [2, 3, "all"]
        num_samples = [32, 256]          # smallest and largest
        [segmentation.slic]              # only the algorithms named here are searched
        n_segments = [10, 20]

    Raises:
        InvalidInput: there is no such file, it is not TOML, or it has unknown names or values.
    """
    if path.exists() and not path.is_file():  # reading a pipe would block, a device never end
        raise InvalidInput(f"search space {path} is no file: give a TOML file")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"search space {path} cannot be read: {error}") from error
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name == "segmentation":
            if not isinstance(value, dict) or not all(isinstance(g, dict) for g in value.values()):
                raise InvalidInput(
                    f"search space {path}: segmentation has one table an algorithm, "
                    "e.g. [segmentation.slic]"
                )
            changes["maps"] = {
                algorithm: {p: tuple(v if isinstance(v, list) else [v]) for p, v in grid.items()}
                for algorithm, grid in value.items()
            }
        elif name in _DIMENSIONS:
            changes[name] = tuple(value if isinstance(value, list) else [value])
        else:
            raise InvalidInput(
                f"search space {path}: unknown dimension '{name}'; "
                f"there are segmentation, {', '.join(_DIMENSIONS)}"
            )
    samples = changes.get("num_samples")
    if samples is not None:
        if not all(isinstance(s, int) for s in samples):
            raise InvalidInput(f"search space {path}: num_samples are whole numbers")
        changes["num_samples"] = (min(samples), max(samples)) if samples else ()
    try:
        return SearchSpace(**changes)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"search space {path}: a value is of the wrong kind ({error})"
        ) from error


def _plain(text: str) -> Value:
    if text in ("None", "none"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parse_regressor(text: str) -> Regressor | None:
    """Read a regressor such as ``Ridge(alpha=0.1)``; ``None`` for ``lime``."""
    if text == LIME_DEFAULT:
        return None
    match = _REGRESSOR.fullmatch(str(text).replace(" ", ""))
    if match is None:
        raise InvalidParameters(f"regressor {text!r}: write it as Name or Name(parameter=number)")
    parameters: dict[str, float] = {}
    for part in filter(None, (match.group(2) or "").split(",")):
        name, equals, value = part.partition("=")
        try:
            parameters[name] = float(value)
        except ValueError as error:
            raise InvalidParameters(f"regressor {text!r}: {part!r} is no number") from error
        if not equals:
            raise InvalidParameters(f"regressor {text!r}: write parameters as name=number")
    return Regressor.of(match.group(1), **parameters)
