"""``tune --constrain``: no tuned setting may explain less than lime's defaults do.

Agreement with a mask can be bought with superpixels so coarse that the explanation says little.
Two measures must not fall below those of the defaults on the same image: the surrogate's R² on
held-out perturbations, and insertion minus deletion. What is missing is taken off the score, so a
setting that misses a little and agrees much more may still win: it is a compromise, and is marked
as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explainers.errors import InvalidInput
from explainers.metrics import Faithfulness

__all__ = ["DEFAULT_CONSTRAINT", "NO_CONSTRAINT", "Constraint", "stored_constraint"]

NO_CONSTRAINT = "none"
_FIDELITY, _WITHIN = "fidelity", "@"
DEFAULT_CONSTRAINT = "fidelity@0.05"
"""The value of ``--constrain`` for a new study of one score that does not say otherwise."""

_MISSING_COUNTS = 3.0  # as in ``--objective faithful``


@dataclass(frozen=True)
class Constraint:
    """How much less than lime's defaults a setting may explain.

    Attributes:
        margin: in held-out R², and in insertion minus deletion; at least 0.
    """

    margin: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Constraint | None:
        """The constraint of a text such as ``fidelity`` or ``fidelity@0.05``; ``None`` of ``none``.

        Raises:
            InvalidInput: the text is none of these.
        """
        if text == NO_CONSTRAINT:
            return None
        name, at, margin = text.partition(_WITHIN)
        try:
            found = float(margin) if at else 0.0
        except ValueError:
            found = -1.0
        if name != _FIDELITY or not 0 <= found <= 1:
            raise InvalidInput(
                f"--constrain {text}: give {NO_CONSTRAINT}, {_FIDELITY}, or {_FIDELITY}@MARGIN "
                f"with a margin of 0 to 1, e.g. {DEFAULT_CONSTRAINT}"
            )
        return cls(found)

    @property
    def text(self) -> str:
        """The inverse of :meth:`parse`."""
        return f"{_FIDELITY}{_WITHIN}{self.margin:g}" if self.margin else _FIDELITY

    def missing(self, own: Faithfulness, defaults: Faithfulness) -> Mapping[str, float]:
        """By how much each measure is below what it may be; above zero where it is."""
        return {
            "r2": defaults.r2 - self.margin - own.r2,
            "gain": defaults.gain - self.margin - own.gain,
        }

    def penalty(self, missing: float) -> float:
        """What is taken off the score for what is missing in one of the measures."""
        return _MISSING_COUNTS * max(0.0, missing)


def stored_constraint(facts: Mapping[str, Any]) -> str:
    """The value of ``--constrain`` that a stored study was made with.

    Args:
        facts: the study's user attributes.
    """
    stored = facts.get("constraints") or [NO_CONSTRAINT]
    return str(stored[0])
