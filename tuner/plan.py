"""How far a study shall go, and how: what a worker elsewhere needs beside the study's facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from explainers.messages import one_line

__all__ = ["PLAN", "StudyPlan"]

PLAN = "plan"
"""The study attribute that it is stored in."""

_KINDS = {
    "catalog": (str,), "model": (str,), "weights": (str, NoneType), "cam_layer": (str, NoneType),
    "trials": (int,), "seeds": (int,), "sampler": (str,), "answers": (int, NoneType),
    "warm_start": (bool,), "seed": (int,), "beyond": (bool,), "pareto": (bool,),
}  # fmt: skip


@dataclass(frozen=True)
class StudyPlan:
    """Stored with each study; the last ``tune`` decides, but not what the study's facts say, too.

    Attributes:
        catalog: as ``--catalog`` said; a shipped name means the same everywhere, a path may not.
        model, weights, cam_layer: as the classifier's options said; whether the weights are the
            same is decided by their hash.
        trials: in all. answers: new classifier answers after which no trial is started.
        beyond: go on after those trials, for as long as that brings something.
        seed: of the sampler.
        pareto: whether the study has two objectives.
        portfolio: parameters as JSON texts, tried first in a study that is new.
    """

    catalog: str
    model: str
    weights: str | None
    cam_layer: str | None
    trials: int
    seeds: int
    sampler: str
    answers: int | None
    warm_start: bool
    seed: int
    beyond: bool = False
    pareto: bool = False
    portfolio: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "portfolio": list(self.portfolio)}

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> StudyPlan | None:
        """From a study's attributes; ``None`` where ``tune`` of this version has not left one."""
        found = attributes.get(PLAN)
        if not isinstance(found, Mapping):
            return None
        try:
            plan = cls(**{**found, "portfolio": tuple(found.get("portfolio", ()))})
        except TypeError as error:
            raise InvalidInput(
                f"the study's plan was written by another version of lime-tuner ({error}): run "
                "lime-tuner tune with this one"
            ) from error
        for name, kinds in _KINDS.items():
            if type(value := getattr(plan, name)) not in kinds:
                raise InvalidInput(
                    f"the study's plan is damaged ({name} is {one_line(repr(value), 40)}): run "
                    "lime-tuner tune with the same settings, which writes it again"
                )
        return plan

    def first(self) -> list[LimeParameters]:
        """The portfolio."""
        return [LimeParameters.from_json(text) for text in self.portfolio]
