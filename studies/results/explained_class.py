"""The class that a study explains, and its probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CLASS_ATTRIBUTES", "ExplainedClass", "classes_line"]

CLASS_ATTRIBUTES = ("class_index", "class_name", "probability", "label")
"""The study attributes that :meth:`ExplainedClass.of` reads."""


@dataclass(frozen=True)
class ExplainedClass:
    """The class that a study of one image explains.

    Attributes:
        probability: by the classifier, in [0, 1]; ``None`` in older studies, which do not store it.
        asked: whether it is not the likeliest class, so that lime gets its index in ``labels``.
    """

    index: int
    name: str
    probability: float | None
    asked: bool

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> ExplainedClass | None:
        """Read it from a study's attributes; ``None`` for studies of catalogues or by others."""
        index, name = attributes.get("class_index"), attributes.get("class_name")
        if not isinstance(index, int) or not isinstance(name, str):
            return None
        probability = attributes.get("probability")
        return cls(index, name, probability, attributes.get("label") is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The name with its probability, if known, and a note if it is not the likeliest class."""
        known = "" if self.probability is None else f" {self.probability:.0%}"
        return f"{self.name}{known}{', not the first class' * self.asked}"


def classes_line(explained: Mapping[str, ExplainedClass | None]) -> str:
    """Return one line for a terminal; empty where no class is known.

    Args:
        explained: by image key.
    """
    known = "; ".join(f"{key}: {found.text}" for key, found in explained.items() if found)
    return f"explained classes: {known}" if known else ""
