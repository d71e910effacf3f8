"""One trial: a parameter set, scored seed by seed until it wins, loses or is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna

from explainers.lime_parameters import LimeParameters
from tuner.objectives import default_fidelity, fidelity_of
from tuner.objectives.draft import TrialDraft, failure_reason
from tuner.objectives.goals import goal_of
from tuner.problem import LOOKS, Rival, TuningTask
from tuner.problem.settings import TuningSettings
from tuner.samplers import FEW_SUPERPIXELS

__all__ = ["run_trial"]

_FIDELITY_SEEDS = 3
_CERTAIN = 0.02  # standard error of the mean IoU below which more seeds tell little


def run_trial(
    trial: optuna.Trial,
    study: optuna.Study,
    task: TuningTask,
    settings: TuningSettings,
    notes: Callable[[], Mapping[str, Any]] | None = None,
    replayed: Callable[[], int] = lambda: 0,
) -> list[float]:
    """Suggest, refuse by the ceiling, explain seed by seed; a value for each objective.

    Trials that carry ``lime_parameters`` from the start (lime's defaults) are taken as they are,
    and never stopped.

    Args:
        notes: further attributes of the trial, asked for when it is stored.
        replayed: samples that whoever proposed the trial has replayed already; asked for once the
            parameters are suggested. Looks at fewer of them tell nothing new.

    Raises:
        optuna.TrialPruned: it cannot beat its rival, or has no place on a front because it is
            worth nothing; what it found is stored.
    """
    draft = TrialDraft.of(trial, task, settings.space)
    parameters, preset = draft.parameters, draft.preset
    goal = goal_of(settings)
    price = goal.price(draft.ratio)
    rival = goal.rival(study, draft.parts.total)
    ious: list[float] = []

    def record(reason: str = "") -> list[float]:
        """Store what was found so far; the values."""
        iou = float(np.mean(ious)) if ious else 0.0
        extra = {} if notes is None else notes()
        draft.store(iou, ious, len(ious), reason=reason, extra=extra)
        return goal.values(iou, draft.parts.total, draft.ratio)

    def worthless(reason: str) -> list[float]:
        values = record(reason)
        if settings.pareto and not preset:
            # Being fast would put it on the front.
            raise optuna.TrialPruned
        return values

    if draft.unusable:
        return worthless(draft.unusable)
    if not preset and rival is not None:
        ceiling = task.view(parameters.segmentation).ceiling(parameters.num_features)
        if ceiling - price < rival.score:
            record(f"ceiling {ceiling:.3f} cannot beat {goal.reached(rival)}")
            raise optuna.TrialPruned

    wanted = settings.seeds if not preset else min(settings.default_seeds, settings.seeds)
    try:
        if not preset and rival is not None:
            seen = _hopeless_look(task, parameters, settings, price, rival, replayed())
            if seen is not None:
                goal.report(trial, float(np.mean(seen.ious)) - price, 0)
                record(f"cannot win after {seen.samples} samples of {len(seen.ious)} seeds")
                raise optuna.TrialPruned
        while len(ious) < wanted:
            ious.append(task.iou(parameters, seed=len(ious)))
            running_score = float(np.mean(ious)) - price
            goal.report(trial, running_score, len(ious) - 1)
            if preset:
                if settings.pareto and (rival is None or running_score > rival.score):
                    # One lucky seed would keep its place on the front for ever.
                    wanted = min(len(ious) + 1, settings.seeds)
                continue
            if rival is not None and settings.stopping.after_seeds(ious, price, rival):
                record(f"cannot win after {len(ious)} seeds")
                raise optuna.TrialPruned
            if len(ious) == wanted and (rival is None or running_score > rival.score):
                wanted = _confirming(ious, trial.number, draft.superpixels, settings)
        lost = ""
        wins = rival is None or float(np.mean(ious)) - price > rival.score
        if settings.constrain_fidelity and not preset and wins:
            lost = _lost_fidelity(trial, task, parameters, len(ious))
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        # scikit-learn refuses some combinations (NaN weights, say): worth nothing, not fatal.
        ious.clear()
        return worthless(failure_reason(error))
    if lost:
        record(lost)
        raise optuna.TrialPruned
    return record()


@dataclass(frozen=True)
class _Look:
    """IoU of the first seeds with so many samples."""

    samples: int
    ious: list[float]


def _hopeless_look(
    task: TuningTask,
    parameters: LimeParameters,
    settings: TuningSettings,
    price: float,
    rival: Rival,
    replayed: int,
) -> _Look | None:
    """The first look at which the trial turns out to be hopeless, if there is one."""
    for samples, seeds in LOOKS:
        if samples <= replayed:
            continue
        if 2 * samples > parameters.num_samples:
            break  # the whole costs little more
        look = replace(parameters, num_samples=samples)
        ious = task.ious(look, range(min(seeds, settings.seeds)))
        if settings.stopping.after_samples(ious, samples, price, rival):
            return _Look(samples, ious)
    return None


def _lost_fidelity(
    trial: optuna.Trial, task: TuningTask, parameters: LimeParameters, seeds: int
) -> str:
    """In which way a trial explains less than lime's defaults; empty when it does not.

    What is measured goes to Optuna's constraints, and to user attributes, which the dashboard
    shows.
    """
    found = fidelity_of(task, parameters, range(min(seeds, _FIDELITY_SEEDS)))
    usual = default_fidelity(task)
    shortfalls = found.shortfalls(usual)
    for name, value in shortfalls.items():
        trial.set_constraint(name, value)
    trial.set_user_attr("fidelity", found.to_json())
    trial.set_user_attr("default_fidelity", usual.to_json())
    trial.set_user_attr("feasible", all(value <= 0 for value in shortfalls.values()))
    words = {
        "r2": f"held-out R² {found.r2:.2f}, lime's defaults {usual.r2:.2f}",
        "gain": f"insertion minus deletion {found.gain:.2f}, lime's defaults {usual.gain:.2f}",
    }
    return "; ".join(words[name] for name, value in shortfalls.items() if value > 0)


def _confirming(
    ious: Sequence[float], number: int, superpixels: int, settings: TuningSettings
) -> int:
    """How many seeds a trial that is the best so far is scored on before that is asked again.

    What samplers propose was chosen on the first seeds, so only further ones show its luck. Early
    trials are soon outdone, and more certainty than need be is not worth many answers.

    Args:
        number: of the trial.
    """
    spent = len(ious)
    step = max(1, settings.seeds // 2)
    if superpixels <= FEW_SUPERPIXELS:  # few patterns: further seeds ask hardly anything new
        most = 2 * settings.confirm_seeds
    else:
        doubtful = float(np.std(ious)) / math.sqrt(spent) > _CERTAIN
        if doubtful and spent >= settings.confirm_seeds:
            most = 2 * settings.confirm_seeds
        elif doubtful:
            most = settings.confirm_seeds
        else:
            most = min(settings.confirm_seeds, settings.seeds + number)
    return min(spent + step, max(spent, most))
