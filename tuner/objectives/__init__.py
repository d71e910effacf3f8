"""Objectives score a trial: by agreement with a reference, or by faithfulness to the classifier.

An objective is a subclass of :class:`Objective` in a module of its own, named in ``OBJECTIVES``;
``tests/tuner/test_objectives.py`` holds every one to the same contract.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from tuner.objectives.agreement import Agreement
from tuner.objectives.alike import Alike, alike, mean_alike
from tuner.objectives.draft import TrialDraft, failure_reason
from tuner.objectives.faithful import Faithful
from tuner.objectives.interface import Objective
from tuner.problem import SearchTask, TuningSettings

__all__ = [
    "OBJECTIVES", "Alike", "Objective", "TrialDraft", "alike", "failure_reason", "make_objective",
    "mean_alike",
]  # fmt: skip

OBJECTIVES: Mapping[str, type[Objective]] = {each.name: each for each in (Agreement, Faithful)}
"""Classes by the name that ``tune --objective`` and stored studies use."""


def make_objective(study: optuna.Study, task: SearchTask, settings: TuningSettings) -> Objective:
    """The objective that the settings name, for the trials of one study."""
    return OBJECTIVES[settings.objective].of(study, task, settings)
