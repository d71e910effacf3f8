"""Units and concepts with evidence for a class inside an explanation's mask."""

from __future__ import annotations

from dissection.evidence.joining import join_explanations
from dissection.evidence.mask_evidence import MaskEvidence, UnitEvidence, mask_evidence

__all__ = ["MaskEvidence", "UnitEvidence", "join_explanations", "mask_evidence"]
