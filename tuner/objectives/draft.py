"""A trial whose parameters are known: their modelled cost, and storing its measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness
from studies.results.trial_record import TrialRecord
from tuner.problem import MapView, SearchSpace, SearchTask
from tuner.runtime.model import RuntimeParts

__all__ = ["Measured", "TrialDraft", "failure_reason"]


@dataclass(frozen=True)
class Measured:
    """What is stored of a trial's explanations.

    Attributes:
        iou: mean over images and seeds; ``nan`` where there is no reference.
        iou_per_seed: mean over images for each seed; empty where there is no reference.
        seeds: number of explainer seeds that all images were explained with.
        faithful: the faithfulness, where the score is made of it.
        extra: further attributes.
    """

    iou: float = 0.0
    iou_per_seed: Sequence[float] = ()
    seeds: int = 0
    faithful: Faithfulness | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrialDraft:
    """What is known of a trial before its first explanation.

    Attributes:
        preset: whether the trial came with its parameters (lime's defaults, other images' best).
        parts: modelled seconds of one explanation.
        ratio: modelled seconds relative to those of lime's defaults.
        asked_before: new predictions that the cache had counted when the trial began.
    """

    trial: optuna.Trial
    task: SearchTask
    parameters: LimeParameters
    preset: bool
    parts: RuntimeParts
    ratio: float
    asked_before: int

    @classmethod
    def of(cls, trial: optuna.Trial, task: SearchTask, space: SearchSpace) -> TrialDraft:
        """The draft of a trial with preset parameters, or with those that its sampler suggests."""
        asked_before = task.cache.counts.new
        given = trial.user_attrs.get("lime_parameters")
        if given is None:
            parameters = space.suggest(trial)
        else:
            parameters = LimeParameters.from_json(given)
            if space.trial_values(parameters) is not None:
                space.suggest(trial)  # so that the dashboard and the sampler see the values
        parameters = task.about(parameters)
        return cls(
            trial=trial,
            task=task,
            parameters=parameters,
            preset=given is not None,
            parts=task.runtime(parameters),
            ratio=task.runtime_ratio(parameters),
            asked_before=asked_before,
        )

    @property
    def unusable(self) -> str:
        """Why the suggested parameters can score nothing, whatever the classifier; else empty."""
        usable = min(self.task.mask_rule.num_features, self.parameters.num_features)
        if self.preset or self.superpixels >= max(2, usable):
            return ""
        return f"{self.superpixels} superpixels, fewer than the mask can use ({usable})"

    @property
    def view(self) -> MapView:
        """The superpixels and how they overlap the reference."""
        return self.task.view(self.parameters.segmentation)

    @property
    def superpixels(self) -> int:
        """Number of superpixels; over a catalogue the rounded mean."""
        return self.view.superpixels

    def store(self, measured: Measured, reason: str, extra: Mapping[str, Any]) -> None:
        """Store what was measured so far as attributes of the trial; skips unchanged ones.

        Args:
            reason: why the trial ended early; empty if it did not.
            extra: further attributes.
        """
        record = TrialRecord(
            parameters=self.parameters,
            iou=measured.iou,
            iou_per_seed=list(measured.iou_per_seed),
            seeds=range(measured.seeds),
            runtime_seconds=self.parts.total,
            runtime_ratio=self.ratio,
            runtime_parts=self.parts.as_dict(),
            superpixels=self.superpixels,
            answers=self.task.cache.counts.new - self.asked_before,
            reason=reason,
            faithful=measured.faithful,
            extra={**measured.extra, **extra},
        )
        known = self.trial.user_attrs
        for name, value in record.to_attributes().items():
            if name not in known or known[name] != value:
                self.trial.set_user_attr(name, value)


def failure_reason(error: Exception) -> str:
    """The reason that is stored for parameters that lime refuses."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"lime failed: {lines[0][:200]}"
