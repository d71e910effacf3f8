"""One trial: a parameter set, measured instance by instance until it wins, loses or is done."""

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
    """Suggest, screen, explain instance by instance; a value for each direction of the study.

    Trials that carry ``lime_parameters`` from the start (lime's defaults) are taken as they are.

    Args:
        notes: further attributes of the trial, asked for when it is stored.
        replayed: samples whose predictions whoever proposed the trial has seen already; asked for
            once the parameters are suggested.

    Raises:
        optuna.TrialPruned: it cannot win, or has no place on a front because it is worth nothing;
            what was measured is stored.
    """
    draft = TrialDraft.of(trial, objective.task, objective.settings.space)
    objective.begin(draft)
    worthless, reason = draft.unusable, ""
    if not worthless:
        try:
            reason = _measured(objective, draft, replayed)
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            # scikit-learn refuses some combinations (NaN weights, say): worth nothing, not fatal.
            objective.clear()
            worthless = failure_reason(error)
    draft.store(objective.measured(), worthless or reason, notes())
    values = objective.values()
    # Being fast would put what is worth nothing on a front.
    if reason or (worthless and len(values) > 1 and not draft.preset):
        raise optuna.TrialPruned
    return values


def _measured(objective: Objective, draft: TrialDraft, replayed: Callable[[], int]) -> str:
    """Measure the trial as far as it is worth it; why it ends early, or empty."""
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
