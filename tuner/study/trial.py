"""Runs one trial: measures a parameter set instance by instance until it is pruned or done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna

from tuner.objectives import Objective, TrialDraft, failure_reason

__all__ = ["run_trial"]


def run_trial(
    trial: optuna.Trial,
    objective: Objective,
    notes: Callable[[], Mapping[str, Any]] = dict,
    replayed: Callable[[], int] = lambda: 0,
) -> list[float]:
    """Suggest parameters, screen them, explain every instance, and store the measurements.

    A trial that has ``lime_parameters`` from the start (lime's defaults) keeps them.

    Args:
        notes: called when the trial is stored; returns further attributes.
        replayed: called once the parameters are suggested; returns how many samples the sampler's
            forecast has used already.

    Returns:
        One value for each direction of the study.

    Raises:
        optuna.TrialPruned: the trial cannot win or, with two objectives, its parameters
            are unusable. What was measured is stored.
    """
    draft = TrialDraft.of(trial, objective.task, objective.settings.space)
    objective.begin(draft)
    worthless, reason = draft.unusable, ""
    if not worthless:
        try:
            reason = _measured(objective, draft, replayed)
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            # scikit-learn refuses some parameters (NaN weights, say): worth nothing, not an error.
            objective.clear()
            worthless = failure_reason(error)
    draft.store(objective.measured(), worthless or reason, notes())
    values = objective.values()
    # Its speed alone would put a worthless trial on the front.
    if reason or (worthless and len(values) > 1 and not draft.preset):
        raise optuna.TrialPruned
    return values


def _measured(objective: Objective, draft: TrialDraft, replayed: Callable[[], int]) -> str:
    """Measure the trial; returns why it ended early, or an empty text."""
    if not draft.preset and (reason := objective.screen(replayed())):
        return reason
    seed = 0
    while seed < objective.wanted:
        for key, task in objective.task.tasks.items():
            objective.measure(key, task, seed)
            if reason := objective.after_instance():
                return reason
        objective.report(objective.running_score, seed)
        if reason := objective.after_seed():
            return reason
        seed += 1
    return objective.verdict()
