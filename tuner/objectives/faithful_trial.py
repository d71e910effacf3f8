"""One trial of a study that has no reference: a parameter set, scored by its faithfulness."""

from __future__ import annotations

import math

import numpy as np
import optuna
from optuna.trial import TrialState

from explainers.faithfulness import Faithfulness
from studies.attributes import DEFAULTS_ORIGIN
from studies.trial_record import TrialRecord
from tuner.objectives.draft import TrialDraft, failure_reason
from tuner.objectives.faithful import FaithfulnessMeter
from tuner.objectives.score import score
from tuner.problem import TuningSettings, TuningTask

__all__ = ["run_faithful_trial"]

_DEFAULT_SEEDS = 3  # of lime's defaults, which every trial is held against
_MORE_SEEDS = 4  # for one that is about to win


def run_faithful_trial(
    trial: optuna.Trial,
    study: optuna.Study,
    task: TuningTask,
    settings: TuningSettings,
    meter: FaithfulnessMeter,
) -> float:
    """Suggest, explain seed by seed, measure; the score.

    A trial is stopped when it could not win even if all further seeds gave the same mask. One that
    is about to win was chosen on its seeds, so it has to go on winning on some more of them. IoU is
    recorded where the task has a reference, and decides nothing.

    Raises:
        optuna.TrialPruned: it cannot beat the best trial; what it found is stored.
    """
    draft = TrialDraft.of(trial, task, settings.space)
    parameters, preset = draft.parameters, draft.preset
    usual = _defaults(study)
    found: Faithfulness | None = None
    spent = 0

    def record(reason: str = "") -> float:
        ious = task.ious(parameters, range(spent)) if task.reference.exists else []
        mean = float(np.mean(ious)) if ious else math.nan
        draft.store(mean, ious, spent, reason=reason, faithful=found)
        return worth(found)

    def worth(of: Faithfulness | None) -> float:
        value = 0.0 if of is None else of.value
        if of is not None and usual is not None:
            value -= of.shortfall(usual)
        elif of is not None and preset:
            value -= of.shortfall(of)  # no lead over themselves: what equals them may be faster
        return score(value, draft.ratio, settings.runtime_weight)

    if draft.unusable:
        return record(draft.unusable)
    try:
        best = study.best_value
    except ValueError:  # Optuna's way of saying that no trial is complete
        best = -math.inf
    wanted = settings.seeds if not preset else min(_DEFAULT_SEEDS, settings.seeds)
    try:
        while spent < wanted:
            found, spent = meter.measure(parameters, range(spent + 1)), spent + 1
            hoped = Faithfulness(found.r2, found.gain, 1.0) if spent < wanted else found
            running = worth(hoped)
            trial.report(running, step=spent - 1)
            if not preset and spent < wanted and running < best:
                record(f"cannot win after {spent} seeds")
                raise optuna.TrialPruned
            wins = not preset and running > best
            if wins and spent == wanted < min(settings.confirm_seeds, settings.seeds + _MORE_SEEDS):
                wanted += 1
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        # scikit-learn refuses some combinations (NaN weights, say): worth nothing, not fatal.
        found, spent = None, 0
        return record(failure_reason(error))
    return record()


def _defaults(study: optuna.Study) -> Faithfulness | None:
    """Of lime's defaults, once their trial is done; with the usual samplers it is the first."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        found = TrialRecord.from_attributes(trial.user_attrs)
        if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN and found is not None:
            return found.faithful
    return None
