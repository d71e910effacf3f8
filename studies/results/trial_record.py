"""One trial's result, to and from the user attributes it is stored in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness

__all__ = ["TrialRecord"]


@dataclass(frozen=True)
class TrialRecord:
    """What a trial found, as it is stored in the trial's user attributes.

    Attributes:
        iou: mean over seeds, in [0, 1]; ``nan`` where there is no reference.
        iou_per_seed, seeds: the explainer seeds that were spent, and what each gave.
        runtime_seconds: what one explanation costs by the runtime model.
        runtime_ratio: to lime's defaults on the same image.
        runtime_parts: seconds of segmentation, perturbation, prediction, fit.
        superpixels: how many the segmentation gave.
        answers: classifier answers that were new in this trial, its proposal's probes included.
        reason: why the trial is worth nothing, or was stopped; empty otherwise.
        faithful: means over the seeds, where the score is made of them.
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
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_attributes(self) -> dict[str, Any]:
        """Plain JSON values by attribute name."""
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
        """The inverse; ``None`` when the trial has no result."""
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
        )

    @property
    def iou_std(self) -> float:
        """Standard deviation over seeds (population), 0 for one seed."""
        values = list(self.iou_per_seed)
        mean = sum(values) / len(values) if values else 0.0
        return (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 if values else 0.0

    def summary(self, number: int, score: float) -> dict[str, Any]:
        """The shape of ``tune --json``: number, score, iou, iou_std, runtime, parameters."""
        faithful = {} if self.faithful is None else {"faithful": self.faithful.to_json()}
        return {
            "number": number,
            "score": score,
            "iou": self.iou,
            "iou_std": self.iou_std,
            **faithful,
            "runtime_seconds": self.runtime_seconds,
            "runtime_ratio": self.runtime_ratio,
            "parameters": json.loads(self.parameters.to_json()),
        }
