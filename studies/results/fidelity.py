"""What a trial's explanations tell of the classifier, and the IoU that a constraint on it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from studies.results.attributes import FIDELITY, PENALTY
from studies.results.score import score

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = [
    "ConstraintCost", "Fidelity", "compromise_lines", "constraint_cost", "is_compromise",
]  # fmt: skip


@dataclass(frozen=True)
class Fidelity:
    """Means over explainer seeds; higher is better.

    Attributes:
        r2: the surrogate's R² on held-out perturbations, at most 1.
        gain: insertion area minus deletion area, in [-1, 1].
        marked: share of the picture that is marked, in [0, 1].
        effective_samples: see :func:`explainers.lime.effective_samples`.
    """

    r2: float
    gain: float
    marked: float | None = None
    effective_samples: float | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Fidelity | None:
        """Of a trial's user attributes; ``None`` where it was not measured.

        A study that is scored by faithfulness measures every trial, one with a constraint those
        that were about to win, and lime's defaults.
        """
        stored = attributes.get("faithful") or attributes.get(FIDELITY)
        if stored is None:
            return None
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        return cls(**known)

    def to_json(self) -> dict[str, float]:
        """The trial attribute."""
        return {n: round(float(v), 6) for n, v in asdict(self).items() if v is not None}


def is_compromise(attributes: Mapping[str, Any]) -> bool:
    """Whether a trial explains less than its study's constraint allows; it may have won."""
    return bool(attributes.get(PENALTY))


def compromise_lines(names: Sequence[str]) -> list[str]:
    """A line that says which studies' best are compromises; none where none is."""
    if not names:
        return []
    return [
        f"a compromise, which explains less than lime's defaults by more than the constraint "
        f"allows: {', '.join(names)}"
    ]


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
