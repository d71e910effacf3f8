"""Convert a trial's result to user attributes of the trial, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness
from studies.results.fidelity import Fidelity, is_compromise

__all__ = ["TrialRecord"]


@dataclass(frozen=True)
class TrialRecord:
    """Result of a trial, as stored in its user attributes.

    Attributes:
        iou: mean over seeds, in [0, 1]; ``nan`` without a reference.
        iou_per_seed: in the order of ``seeds``.
        seeds: the explainer seeds that were used.
        runtime_seconds: of one explanation by the runtime model.
        runtime_ratio: ``runtime_seconds`` relative to lime's defaults on the same image.
        runtime_parts: seconds of segmentation, perturbation, prediction, fit.
        superpixels: number of superpixels.
        answers: number of new predictions by the classifier, including those for the proposal.
        reason: why the trial has no score, or was pruned; empty otherwise.
        faithful: means over the seeds, where the score uses faithfulness.
        fidelity: R² and gain, where a constraint or the score uses them; read only.
        compromise: whether it explains less than its study's constraint allows; read only.
        extra: further attributes to write.
    """

    parameters: LimeParameters
    iou: float
    iou_per_seed: Sequence[float]
    seeds: Sequence[int]
    runtime_seconds: float
    runtime_ratio: float
    runtime_parts: Mapping[str, float]
    superpixels: int
    answers: int = 0
    reason: str = ""
    faithful: Faithfulness | None = None
    fidelity: Fidelity | None = None
    compromise: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_attributes(self) -> dict[str, Any]:
        """Return plain JSON values by attribute name."""
        attributes: dict[str, Any] = {
            "iou": None if math.isnan(self.iou) else float(self.iou),
            "iou_per_seed": [round(float(v), 6) for v in self.iou_per_seed],
            "seeds": [int(seed) for seed in self.seeds],
            "runtime_seconds": float(self.runtime_seconds),
            "runtime_ratio": float(self.runtime_ratio),
            "runtime_parts": {k: round(float(v), 6) for k, v in self.runtime_parts.items()},
            "superpixels": int(self.superpixels),
            "lime_parameters": self.parameters.to_json(),
            "answers": int(self.answers),
        }
        if self.reason:
            attributes["reason"] = self.reason
        if self.faithful is not None:
            attributes["faithful"] = self.faithful.to_json()
        return {**attributes, **self.extra}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> TrialRecord | None:
        """Read a result from user attributes; ``None`` when the trial has none."""
        if "iou" not in attributes or "lime_parameters" not in attributes:
            return None
        faithful = attributes.get("faithful")
        return cls(
            parameters=LimeParameters.from_json(attributes["lime_parameters"]),
            iou=math.nan if attributes["iou"] is None else attributes["iou"],
            iou_per_seed=attributes["iou_per_seed"],
            seeds=attributes["seeds"],
            runtime_seconds=attributes["runtime_seconds"],
            runtime_ratio=attributes["runtime_ratio"],
            runtime_parts=attributes["runtime_parts"],
            superpixels=attributes["superpixels"],
            answers=attributes.get("answers", 0),
            reason=attributes.get("reason", ""),
            faithful=None if faithful is None else Faithfulness.from_json(faithful),
            fidelity=Fidelity.of(attributes),
            compromise=is_compromise(attributes),
        )

    @property
    def iou_std(self) -> float:
        """Population standard deviation over seeds; 0 for one seed."""
        values = list(self.iou_per_seed)
        mean = sum(values) / len(values) if values else 0.0
        return (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 if values else 0.0

    def summary(self, number: int, score: float) -> dict[str, Any]:
        """Return the trial as ``tune --json`` shows it."""
        measured: dict[str, Any] = {}
        if self.faithful is not None:
            measured = {"faithful": self.faithful.to_json()}
        elif self.fidelity is not None:
            measured = {"fidelity": self.fidelity.to_json(), "compromise": self.compromise}
        return {
            "number": number,
            "score": score,
            "iou": self.iou,
            "iou_std": self.iou_std,
            **measured,
            "runtime_seconds": self.runtime_seconds,
            "runtime_ratio": self.runtime_ratio,
            "parameters": json.loads(self.parameters.to_json()),
        }
