"""How far a study shall go, and how: what a worker elsewhere needs beside the study's facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from explainers.errors import InvalidInput
from tuner.search_space import SearchSpace
from tuner.trial import TuningSettings

__all__ = ["PLAN", "StudyPlan"]

PLAN = "plan"
"""The study attribute that it is stored in."""


@dataclass(frozen=True)
class StudyPlan:
    """Stored with each study; the last ``tune`` decides.

    Attributes:
        catalog: as ``--catalog`` said; a shipped name means the same everywhere, a path may not.
        model, weights, cam_layer: as the classifier's options said; whether the weights are the
            same is decided by their hash.
        trials: in all. answers: new classifier answers after which no trial is started.
        beyond: go on after those trials, for as long as that brings something.
        seed: of the sampler.
        pareto: whether the study has two objectives.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> StudyPlan | None:
        """From a study's attributes; ``None`` where ``tune`` of this version has not left one."""
        found = attributes.get(PLAN)
        if not isinstance(found, Mapping):
            return None
        try:
            return cls(**found)
        except TypeError as error:
            raise InvalidInput(
                f"the study's plan was written by another version of lime-tuner ({error}): run "
                "lime-tuner tune with this one"
            ) from error

    def settings(self, attributes: Mapping[str, Any]) -> TuningSettings:
        """What a run of the study needs.

        Args:
            attributes: the study's, which say what it was made from.
        """
        return TuningSettings(
            trials=self.trials,
            seeds=self.seeds,
            confirm_seeds=3 * self.seeds,
            runtime_weight=float(attributes["runtime_weight"]),
            sampler=self.sampler,
            answers=self.answers,
            beyond=self.beyond,
            seed=self.seed,
            space=SearchSpace.from_json(attributes["search_space"]),
            constrain_fidelity="fidelity" in attributes.get("constraints", []),
            pareto=self.pareto,
        )
