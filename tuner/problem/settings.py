"""The settings of a study, each declared once for the command line, notebooks and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from tuner.clock import until_clock
from tuner.options import BUDGET, SEARCH, Option, check_options, options_of
from tuner.problem.constraint import DEFAULT_CONSTRAINT, Constraint, stored_constraint
from tuner.problem.search_space import SearchSpace, load_space
from tuner.problem.stopping import BoundsStopping, StoppingRule

__all__ = [
    "AGREEMENT", "FAITHFUL", "OBJECTIVES", "SAMPLERS", "Seeds", "Trials",
    "TuningSettings",
]  # fmt: skip

# Only the names, so that a command's help need not import the classes; a test compares both.
AGREEMENT: Final = "agreement"
FAITHFUL: Final = "faithful"
OBJECTIVES = (AGREEMENT, FAITHFUL)
SAMPLERS = ("ceiling", "tpe", "random")

_IMAGE, _CATALOG = "image", "catalog"
_CATALOG_SEEDS, _CATALOG_RUNTIME = 2, 0.125
# The space is stored in the study's facts; the others only say when this process stops.
_NOT_STORED = frozenset({"space", "space_file", "fix", "stopping", "timeout", "until"})


Trials = Annotated[
    int,
    Option(
        "Trials per image, counting those the study has already.",
        least=1,
        most=1_000_000,
        panel=BUDGET,
    ),
]
Seeds = Annotated[
    int,
    Option(
        "Explainer seeds a surviving trial is scored on.",
        f"10, or {_CATALOG_SEEDS} with --scope catalog", least=1, most=10_000, panel=BUDGET),
]  # fmt: skip


def _next_moment(text: str) -> datetime:
    return until_clock(text, datetime.now())


@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """How a study is run. Users give the fields with an :class:`Option`; the others follow.

    Attributes:
        confirm_seeds: seeds in all for a trial that is about to become the best, so that it does
            not win by chance. Fewer in the first trials if the mean is certain before; up to twice
            as many if it is still uncertain, or if more seeds need hardly any predictions.
        default_seeds: seeds for lime's defaults, whose thousand samples are the most expensive
            predictions of the study, and which only serve for comparison.
        beyond: go on after ``trials`` as long as the best still improves.
        portfolio: parameters as JSON texts, tried first in a study that is new.
        stopping: the rule that prunes trials.
    """

    trials: Trials = 60
    timeout: Annotated[
        float | None,
        Option("Seconds per image after which no trial is started.", above=0, panel=BUDGET),
    ] = None
    until: Annotated[
        datetime | None,
        Option(
            "Time of day, e.g. 07:00, after which no trial is started. Every image gets its "
            "share first; without --trials, what is left goes where it still pays off.",
            parse=_next_moment,
            panel=BUDGET,
        ),
    ] = None
    answers: Annotated[
        int | None,
        Option(
            "New classifier answers per image after which no trial is started.",
            least=1,
            panel=BUDGET,
        ),
    ] = None
    seeds: Seeds = 10
    runtime_weight: Annotated[
        float, Option("IoU that the runtime of lime's defaults is worth.", least=0, panel=SEARCH)
    ] = 0.1
    sampler: Annotated[
        str,
        Option(
            "ceiling, tpe or random.", f"ceiling, or tpe with --objective {FAITHFUL}",
            choices=SAMPLERS, panel=SEARCH),
    ] = "ceiling"  # fmt: skip
    fix: Annotated[
        tuple[str, ...],
        Option("name=value: keep one value of a dimension; may be repeated.", panel=SEARCH),
    ] = ()
    space_file: Annotated[
        Path | None,
        Option("TOML file that replaces the search space.", names=("--space",), panel=SEARCH),
    ] = None
    warm_start: Annotated[
        bool, Option("Try early what won on the catalogue's other images.", panel=SEARCH)
    ] = True
    constrain: Annotated[
        str | None,
        Option(
            "fidelity@MARGIN: held-out R² of the surrogate, and insertion minus deletion, may "
            "not fall further below those of lime's defaults. none: they may.",
            f"{DEFAULT_CONSTRAINT} for a study of one score that is new",
            panel=SEARCH,
        ),
    ] = None
    pareto: Annotated[
        bool,
        Option(
            "Look for the whole front of IoU and seconds; export chooses from it later.",
            panel=SEARCH,
        ),
    ] = False
    seed: Annotated[int, Option("Seed of the search itself.", panel=SEARCH)] = 0
    scope: Annotated[
        str,
        Option(
            "image: a study each. catalog: one setting that serves all images.",
            choices=(_IMAGE, _CATALOG),
            panel=SEARCH,
        ),
    ] = _IMAGE
    aggregate: Annotated[
        str,
        Option("Of a setting's values on all images: mean, worst, or q10 to q50.", panel=SEARCH),
    ] = "mean"
    folds: Annotated[
        int,
        Option(
            "With --scope catalog: cross-validate over so many folds of images.",
            least=0,
            panel=SEARCH,
        ),
    ] = 0
    most_runtime: Annotated[
        float | None,
        Option(
            "Share of the samples of lime's defaults that nothing may exceed.",
            f"{_CATALOG_RUNTIME} with --scope catalog", above=0, panel=BUDGET),
    ] = None  # fmt: skip
    objective: Annotated[
        str,
        Option(
            f"{AGREEMENT} with a reference, or {FAITHFUL}: held-out R², insertion minus deletion "
            "and stability, without any reference.",
            choices=OBJECTIVES,
            panel=SEARCH,
        ),
    ] = AGREEMENT
    confirm_seeds: int = 30
    default_seeds: int = 1
    beyond: bool = False
    portfolio: tuple[str, ...] = ()
    space: SearchSpace = field(default_factory=SearchSpace)
    stopping: StoppingRule = field(default_factory=BoundsStopping)

    def __post_init__(self) -> None:
        check_options(self)
        if self.until is not None and self.timeout is not None:
            raise InvalidInput(
                "--until shares one night among all images, --timeout is for each: give one of them"
            )
        if not self.of_catalog and (self.folds or self.aggregate != "mean"):
            raise InvalidInput("--folds and --aggregate belong to --scope catalog: add it")
        constrained = self.constrain is not None and Constraint.parse(self.constrain) is not None
        if self.objective == FAITHFUL:
            self._refuse(
                {
                    "--sampler ceiling": self.sampler == "ceiling",
                    "--constrain": constrained,
                    "--scope catalog": self.of_catalog,
                    "--pareto": self.pareto,
                },
                f"needs a reference, which --objective {FAITHFUL} does without",
            )
        if self.of_catalog:
            self._refuse(
                {"--constrain": constrained, "--pareto": self.pareto, "--until": self.until},
                "does not go with --scope catalog, which is one study in one process",
            )

    @staticmethod
    def _refuse(given: Mapping[str, Any], why: str) -> None:
        for name, value in given.items():
            if value:
                raise InvalidInput(f"{name} {why}: leave it out")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> TuningSettings:
        """Settings from values by name; defaults of the others depend on what was given.

        Raises:
            InvalidInput: a value is out of range, or two values cannot be combined.
        """
        values = dict(given)
        catalog = values.get("scope") == _CATALOG
        if catalog:
            values.setdefault("seeds", _CATALOG_SEEDS)
            values.setdefault("most_runtime", _CATALOG_RUNTIME)
        if values.get("objective") == FAITHFUL:
            values.setdefault("sampler", "tpe")
        seeds = values.get("seeds", cls.seeds)
        values.setdefault("confirm_seeds", seeds + 2 if catalog else 3 * seeds)
        values.setdefault("beyond", "until" in values and "trials" not in values)
        if values.get("space_file") is not None:
            values["space"] = load_space(values["space_file"])
        space = values.get("space", SearchSpace()).fix(values.get("fix", ()))
        if values.get("most_runtime") is not None:
            space = space.affordable(values["most_runtime"])
        return cls(**{**values, "space": space})

    @property
    def of_catalog(self) -> bool:
        """Whether one study is to serve all images."""
        return self.scope == _CATALOG

    @property
    def constraint(self) -> Constraint | None:
        """What a trial must not lose to win.

        Where none was chosen it is the default, for a study of one image and one score that is made
        of the agreement with a reference.
        """
        if self.constrain is not None:
            return Constraint.parse(self.constrain)
        if self.of_catalog or self.pareto or self.objective == FAITHFUL:
            return None
        return Constraint.parse(DEFAULT_CONSTRAINT)

    def resumed(self, facts: Mapping[str, Any]) -> TuningSettings:
        """The settings for a stored study: where no constraint was chosen, it keeps its own.

        Args:
            facts: the study's user attributes; empty for one that is new.
        """
        if self.constrain is not None or not facts:
            return self
        return replace(self, constrain=stored_constraint(facts))

    def first(self) -> list[LimeParameters]:
        """The portfolio's parameters."""
        return [LimeParameters.from_json(text) for text in self.portfolio]

    def to_json(self) -> dict[str, Any]:
        """Plain values of the settings that are stored in a study's plan."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_STORED}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TuningSettings:
        """The inverse of :meth:`to_json`, also for documents of versions with fewer settings.

        Raises:
            InvalidInput: a value is damaged, or a setting is unknown in this version.
        """
        declared = {option.name: option for option in options_of(cls)}
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name not in known:
                raise InvalidInput(f"'{name}' is a setting of another version of lime-tuner")
            if name in declared:
                values[name] = declared[name].check(value, name)
            else:
                default = known[name].default
                kind = type(default) if default is not MISSING else object
                values[name] = tuple(value) if isinstance(value, list) else value
                if not isinstance(values[name], kind):
                    raise InvalidInput(f"{name} is damaged")
        if "confirm_seeds" not in values:  # by a version that did not store it
            values["confirm_seeds"] = 3 * values.get("seeds", cls.seeds)
        return cls(**values)
