"""How well an explanation describes the classifier: one value of three measures, without a mask.

What they are, and why a lead over lime's defaults is asked for: :mod:`tuner.objectives.faithful`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_LEAD = 0.05
_MISSING_COUNTS = 3.0  # what one measure lacks would take as much again in each of the three


@dataclass(frozen=True)
class Faithfulness:
    """Means over explainer seeds.

    Attributes:
        r2: held out; at most 1.
        gain: insertion minus deletion area.
        stability: agreement of the seeds' masks, in [0, 1]; ``nan`` for one seed.
    """

    r2: float
    gain: float
    stability: float

    @property
    def value(self) -> float:
        """In [0, 1]; without the stability where there is none."""
        parts = [min(1.0, max(0.0, self.r2)), min(1.0, max(0.0, self.gain))]
        if not math.isnan(self.stability):
            parts.append(self.stability)
        return sum(parts) / len(parts)

    def shortfall(self, baseline: Faithfulness) -> float:
        """What is missing to a clear lead over lime's defaults in R² and gain; at least 0."""
        missing = (baseline.r2 + _LEAD - self.r2, baseline.gain + _LEAD - self.gain)
        return _MISSING_COUNTS * sum(max(0.0, each) for each in missing)

    @classmethod
    def from_json(cls, document: Mapping[str, float | None]) -> Faithfulness:
        """The inverse of :meth:`to_json`."""
        return cls(
            **{name: math.nan if value is None else value for name, value in document.items()}
        )

    def to_json(self) -> dict[str, float | None]:
        """JSON values; ``None`` for NaN."""
        return {
            name: None if math.isnan(found) else round(float(found), 6)
            for name, found in asdict(self).items()
        }
