"""Which class a study explains, and how likely the classifier finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CLASS_ATTRIBUTES", "ExplainedClass", "classes_line"]

CLASS_ATTRIBUTES = ("class_index", "class_name", "probability", "label")
"""The study attributes that say it."""


@dataclass(frozen=True)
class ExplainedClass:
    """The class that a study of one image explains.

    Attributes:
        probability: by the classifier, in [0, 1]; ``None`` in studies of before it was stored.
        asked: it is not the classifier's first class, so lime is asked for it by its number.
    """

    index: int
    name: str
    probability: float | None
    asked: bool

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> ExplainedClass | None:
        """From a study's attributes; ``None`` of a catalogue's, and of others' studies."""
        index, name = attributes.get("class_index"), attributes.get("class_name")
        if not isinstance(index, int) or not isinstance(name, str):
            return None
        probability = attributes.get("probability")
        return cls(index, name, probability, attributes.get("label") is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The name, with the probability where it is known."""
        known = "" if self.probability is None else f" {self.probability:.0%}"
        return f"{self.name}{known}{', not the first class' * self.asked}"


def classes_line(explained: Mapping[str, ExplainedClass | None]) -> str:
    """One line for a terminal; empty where no class is known.

    Args:
        explained: by image.
    """
    known = "; ".join(f"{key}: {found.text}" for key, found in explained.items() if found)
    return f"explained classes: {known}" if known else ""
