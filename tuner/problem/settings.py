"""How a study is run: how long, on how many seeds, and what decides."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from explainers.errors import InvalidInput
from tuner.problem.search_space import SearchSpace
from tuner.problem.stopping import BoundsStopping, StoppingRule

__all__ = ["TuningSettings"]


@dataclass(frozen=True)
class TuningSettings:
    """How a study is run.

    Attributes:
        trials: finished trials the study has in the end, those of earlier runs included.
        seeds: explainer seeds 0, 1, ... that a surviving trial is scored on.
        confirm_seeds: seeds in all for a trial that is about to become the best, so that luck
            does not win; fewer in the first trials where its mean is certain before, up to twice
            as many where it is still uncertain by then, or where they cost nothing.
        default_seeds: seeds for lime's defaults, whose thousand samples are the dearest answers
            of the whole study and which only have to be beaten.
        timeout: seconds after which no further trial is started.
        answers: new classifier answers after which no further trial is started.
        beyond: go on after ``trials``, for as long as that brings something.
        seed: of the sampler.
        stopping: when a trial is given up.
        constrain_fidelity: a trial that explains less than lime's defaults cannot win; see
            ``tuner.objectives.constraint``.
        pareto: two objectives, IoU and seconds, instead of one score.
        objective: see ``tuner.objectives.faithful``.
    """

    trials: int = 60
    seeds: int = 10
    confirm_seeds: int = 30
    default_seeds: int = 1
    runtime_weight: float = 0.1
    sampler: str = "ceiling"
    timeout: float | None = None
    answers: int | None = None
    beyond: bool = False
    seed: int = 0
    space: SearchSpace = field(default_factory=SearchSpace)
    stopping: StoppingRule = field(default_factory=BoundsStopping)
    constrain_fidelity: bool = False
    pareto: bool = False
    objective: str = "agreement"

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise InvalidInput(f"{self.trials} trials: give at least 1")
        if self.seeds < 1:
            raise InvalidInput(f"{self.seeds} seeds: give at least 1")
        if not 0 <= self.runtime_weight < math.inf:
            raise InvalidInput(f"runtime weight {self.runtime_weight}: give a number from 0 up")
        if self.timeout is not None and not self.timeout > 0:
            raise InvalidInput(f"timeout {self.timeout}: give seconds above 0")
        if self.answers is not None and self.answers < 1:
            raise InvalidInput(f"{self.answers} classifier answers: give at least 1")
