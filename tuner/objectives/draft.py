"""A trial whose parameters are known: what they cost, and how what comes of them is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from explainers.faithfulness import Faithfulness
from explainers.lime_parameters import LimeParameters
from studies.trial_record import TrialRecord
from tuner.problem import SearchSpace, SearchTask
from tuner.runtime_model import RuntimeParts

__all__ = ["TrialDraft", "failure_reason"]


@dataclass(frozen=True, eq=False)
class TrialDraft:
    """What is known of a trial before its first explanation.

    Attributes:
        preset: whether the trial came with its parameters (lime's defaults, winners elsewhere).
        parts: modelled seconds of one explanation.
        ratio: the same relative to lime's defaults.
        superpixels: how many there are; the mean of several images.
        asked_before: answers that the bank had asked for when the trial began.
    """

    trial: optuna.Trial
    task: SearchTask
    parameters: LimeParameters
    preset: bool
    parts: RuntimeParts
    ratio: float
    superpixels: int
    asked_before: int

    @classmethod
    def of(cls, trial: optuna.Trial, task: SearchTask, space: SearchSpace) -> TrialDraft:
        """Parameters that the trial carries from the start, or that its sampler suggests."""
        asked_before = task.bank.counts.new
        given = trial.user_attrs.get("lime_parameters")
        if given is None:
            parameters = space.suggest(trial)
        else:
            parameters = LimeParameters.from_json(given)
            if space.trial_values(parameters) is not None:
                space.suggest(trial)  # shown by the dashboard, known to the sampler
        parameters = task.about(parameters)
        return cls(
            trial=trial,
            task=task,
            parameters=parameters,
            preset=given is not None,
            parts=task.runtime(parameters),
            ratio=task.runtime_ratio(parameters),
            superpixels=task.view(parameters.segmentation).superpixels,
            asked_before=asked_before,
        )

    @property
    def unusable(self) -> str:
        """Why a suggestion is worth nothing whatever the classifier says; empty when it is not."""
        usable = min(self.task.mask_rule.num_features, self.parameters.num_features)
        if self.preset or self.superpixels >= max(2, usable):
            return ""
        return f"{self.superpixels} superpixels, fewer than the mask can use ({usable})"

    def store(
        self,
        iou: float,
        iou_per_seed: Sequence[float],
        seeds: int,
        *,
        reason: str = "",
        faithful: Faithfulness | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was found so far to the trial; what stands there already is not repeated.

        Args:
            iou: mean, ``nan`` where there is no reference.
            seeds: explainer seeds that were spent on all images.
            reason: why it was given up.
            faithful: where that is what the score is made of.
            extra: further attributes.
        """
        found = TrialRecord(
            parameters=self.parameters,
            iou=iou,
            iou_per_seed=list(iou_per_seed),
            seeds=range(seeds),
            runtime_seconds=self.parts.total,
            runtime_ratio=self.ratio,
            runtime_parts=self.parts.as_dict(),
            superpixels=self.superpixels,
            answers=self.task.bank.counts.new - self.asked_before,
            reason=reason,
            faithful=faithful,
            extra={} if extra is None else dict(extra),
        )
        known = self.trial.user_attrs
        for name, value in found.to_attributes().items():
            if name not in known or known[name] != value:
                self.trial.set_user_attr(name, value)


def failure_reason(error: Exception) -> str:
    """What is stored of parameters that lime refuses."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"lime failed: {lines[0][:200]}"
