"""The IoU that a study's constraint costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.results.attributes import PENALTY
from studies.results.score import score

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["ConstraintCost", "constraint_cost"]


@dataclass(frozen=True)
class ConstraintCost:
    """Cost of the constraint in one study.

    Attributes:
        iou: of the best trial.
        free_iou: of the best trial whether or not it meets the constraint. It is a lower bound of
            the IoU without the constraint, as the search avoids settings that do not meet it.
        refused: number of trials that explain too little, and were the best so far without that.
        reason: why the best of these did not win; empty when it did, as a compromise, or when
            there is none.
    """

    iou: float
    free_iou: float
    refused: int
    reason: str

    @property
    def cost(self) -> float:
        """Lower bound of the lost IoU; below zero where the refused trial was only faster."""
        return self.free_iou - self.iou


def constraint_cost(trials: Sequence[FrozenTrial], runtime_weight: float) -> ConstraintCost | None:
    """Compute the cost from a study's trials; ``None`` without a complete trial.

    Args:
        runtime_weight: of the study's score.
    """

    def free(trial: FrozenTrial) -> float:
        found = trial.user_attrs
        return score(float(found["iou"]), float(found["runtime_ratio"]), runtime_weight)

    def bound(trial: FrozenTrial) -> float:
        return free(trial) - float(trial.user_attrs.get(PENALTY, 0.0))

    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        return None
    winner = max(complete, key=bound)
    refused = [trial for trial in trials if trial.user_attrs.get("feasible") is False]
    best = max([winner, *refused], key=free)
    return ConstraintCost(
        float(winner.user_attrs["iou"]),
        float(best.user_attrs["iou"]),
        len(refused),
        "" if best is winner else str(best.user_attrs.get("reason", "")),
    )
