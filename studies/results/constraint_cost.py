"""What ``tune --constrain fidelity`` costs in agreement with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["ConstraintCost", "constraint_cost"]


@dataclass(frozen=True)
class ConstraintCost:
    """Of one study.

    Attributes:
        iou: of the best trial that meets the constraint.
        free_iou: of the best trial whether or not it does. The search turns away from what does
            not meet the constraint, so without it something better still may have been found.
        refused: trials that would have won but for the constraint.
        reason: of the best of them; empty when there are none.
    """

    iou: float
    free_iou: float
    refused: int
    reason: str

    @property
    def cost(self) -> float:
        """IoU given up, at least; below zero where the winner was cheaper instead of better."""
        return self.free_iou - self.iou


def constraint_cost(trials: Sequence[FrozenTrial], runtime_weight: float) -> ConstraintCost | None:
    """From a study's trials; ``None`` without a complete trial.

    Args:
        runtime_weight: of the study's score.
    """

    def score(trial: FrozenTrial) -> float:
        found = trial.user_attrs
        return float(found["iou"]) - runtime_weight * float(found["runtime_ratio"])

    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        return None
    winner = max(complete, key=score)
    refused = [trial for trial in trials if trial.user_attrs.get("feasible") is False]
    best = max([winner, *refused], key=score)
    return ConstraintCost(
        float(winner.user_attrs["iou"]),
        float(best.user_attrs["iou"]),
        len(refused),
        "" if best is winner else str(best.user_attrs.get("reason", "")),
    )
