"""One trial of a study that has no reference: a parameter set, scored by its faithfulness."""

from __future__ import annotations

import math

import numpy as np
import optuna
from optuna.trial import TrialState

from explainers.lime_parameters import LimeParameters
from studies.attributes import DEFAULTS_ORIGIN
from studies.trial_record import TrialRecord
from tuner.faithfulness import Faithfulness, FaithfulnessMeter
from tuner.objective import score
from tuner.task import TuningTask
from tuner.trial import TuningSettings

__all__ = ["run_faithful_trial"]

_DEFAULT_SEEDS = 2  # of lime's defaults, whose agreement is worth something as well


def run_faithful_trial(
    trial: optuna.Trial,
    study: optuna.Study,
    task: TuningTask,
    settings: TuningSettings,
    meter: FaithfulnessMeter,
) -> float:
    """Suggest, explain seed by seed, measure; the score.

    A trial is stopped when it could not win even if all further seeds gave the same mask. IoU is
    recorded where the task has a reference, and decides nothing.

    Raises:
        optuna.TrialPruned: it cannot beat the best trial; what it found is stored.
    """
    asked_before = task.bank.counts.new
    preset = trial.user_attrs.get("lime_parameters")
    if preset is None:
        parameters = settings.space.suggest(trial)
    else:
        parameters = LimeParameters.from_json(preset)
        if settings.space.trial_values(parameters) is not None:
            settings.space.suggest(trial)
    parts, ratio = task.runtime(parameters), task.runtime_ratio(parameters)
    superpixels = task.view(parameters.segmentation).superpixels
    usual = _defaults(study)
    found: Faithfulness | None = None
    spent = 0

    def record(reason: str = "") -> float:
        ious = task.ious(parameters, range(spent)) if task.reference.exists else []
        stored = TrialRecord(
            parameters=parameters,
            iou=float(np.mean(ious)) if ious else math.nan,
            iou_per_seed=ious,
            seeds=range(spent),
            runtime_seconds=parts.total,
            runtime_ratio=ratio,
            runtime_parts=parts.as_dict(),
            superpixels=superpixels,
            answers=task.bank.counts.new - asked_before,
            reason=reason,
            extra={} if found is None else {"faithful": found.to_json()},
        )
        for name, value in stored.to_attributes().items():
            if name not in trial.user_attrs or trial.user_attrs[name] != value:
                trial.set_user_attr(name, value)
        return worth(found)

    def worth(of: Faithfulness | None) -> float:
        value = 0.0 if of is None else of.value
        if of is not None and preset is None and usual is not None:
            value -= of.shortfall(usual)
        return score(value, ratio, settings.runtime_weight)

    usable = min(task.mask_rule.num_features, parameters.num_features)
    if preset is None and superpixels < max(2, usable):
        return record(f"{superpixels} superpixels, fewer than the mask can use ({usable})")
    try:
        best = study.best_value
    except ValueError:  # Optuna's way of saying that no trial is complete
        best = -math.inf
    wanted = settings.seeds if preset is None else min(_DEFAULT_SEEDS, settings.seeds)
    try:
        for seed in range(wanted):
            found, spent = meter.measure(parameters, range(seed + 1)), seed + 1
            hoped = Faithfulness(found.r2, found.gain, 1.0) if spent < wanted else found
            running = worth(hoped)
            trial.report(running, step=seed)
            if preset is None and spent < wanted and running < best:
                record(f"cannot win after {spent} seeds")
                raise optuna.TrialPruned
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        # scikit-learn refuses some combinations (NaN weights, say): worth nothing, not fatal.
        found, spent = None, 0
        return record(f"lime failed: {str(error).splitlines()[0][:200]}")
    return record()


def _defaults(study: optuna.Study) -> Faithfulness | None:
    """Of lime's defaults, once their trial is done; with the usual samplers it is the first."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        found = trial.user_attrs.get("faithful")
        if trial.user_attrs.get("origin") == DEFAULTS_ORIGIN and found is not None:
            return Faithfulness.from_json(found)
    return None
