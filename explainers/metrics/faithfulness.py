"""How well an explanation describes the classifier: one value of three measures, without a mask.

The measures, and why a lead over lime's defaults is required: :mod:`tuner.objectives.faithful`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_LEAD = 0.05  # in R² and in gain
_MISSING_COUNTS = 3.0  # weight of a missing lead; 3 because the score averages three measures


@dataclass(frozen=True)
class Faithfulness:
    """Three measures of an explanation, each the mean over explainer seeds.

    Attributes:
        r2: of the surrogate on held-out perturbations; at most 1.
        gain: insertion minus deletion area.
        stability: agreement of the seeds' masks, in [0, 1]; ``nan`` for one seed.
    """

    r2: float
    gain: float
    stability: float

    @property
    def value(self) -> float:
        """Mean of the measures, each cut to [0, 1]; without the stability where that is ``nan``."""
        parts = [min(1.0, max(0.0, self.r2)), min(1.0, max(0.0, self.gain))]
        if not math.isnan(self.stability):
            parts.append(self.stability)
        return sum(parts) / len(parts)

    def shortfall(self, baseline: Faithfulness) -> float:
        """Weighted sum of what is missing to a lead over lime's defaults in R² and gain; >= 0."""
        missing = (baseline.r2 + _LEAD - self.r2, baseline.gain + _LEAD - self.gain)
        return _MISSING_COUNTS * sum(max(0.0, each) for each in missing)

    @classmethod
    def from_json(cls, document: Mapping[str, float | None]) -> Faithfulness:
        """The inverse of :meth:`to_json`."""
        return cls(
            **{name: math.nan if value is None else value for name, value in document.items()}
        )

    def to_json(self) -> dict[str, float | None]:
        """JSON values, rounded to six digits; ``None`` for NaN."""
        return {
            name: None if math.isnan(found) else round(float(found), 6)
            for name, found in asdict(self).items()
        }
