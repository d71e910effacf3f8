"""What a trial's explanations tell of the classifier, where the study measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from studies.results.attributes import FIDELITY, PENALTY

__all__ = ["Fidelity", "compromise_lines", "is_compromise"]


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

    def __str__(self) -> str:
        return f"{self.r2:.2f}, {self.gain:.2f}"


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
