"""What a trial is worth: agreement with a reference, or faithfulness to the classifier."""

from __future__ import annotations

from tuner.objectives.alike import Alike, alike, mean_alike
from tuner.objectives.constraint import Fidelity, default_fidelity, fidelity_of
from tuner.objectives.faithful import AGREEMENT, FAITHFUL, OBJECTIVES, FaithfulnessMeter
from tuner.objectives.score import score

__all__ = [
    "AGREEMENT", "FAITHFUL", "OBJECTIVES", "Alike", "FaithfulnessMeter", "Fidelity", "alike",
    "default_fidelity", "fidelity_of", "mean_alike", "score",
]  # fmt: skip
