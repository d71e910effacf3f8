"""Scores of the studies' trials over time, what they explain, and the importance of parameters."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from studies.report.facts import ReportFacts, StudyFacts
from studies.results.best_trial import trial_score
from studies.results.fidelity import Fidelity

__all__ = ["FEWEST_FOR_IMPORTANCE", "Judged", "histories", "importances", "judged_trials"]

FEWEST_FOR_IMPORTANCE = 10
"""Complete trials that one study needs for importances."""
# Trials of all studies together, and at least of each: fANOVA takes about 20 ms a trial.
_MOST_TRIALS, _LEAST_SHARE = 1000, 30


def histories(facts: ReportFacts) -> dict[str, list[float | None]]:
    """Return the score of each finished trial, by image; ``None`` for pruned trials."""
    return {
        study.key: [
            trial_score(trial, study.weight) if trial.state.name == "COMPLETE" else None
            for trial in study.trials
            if trial.state.is_finished() and trial.state.name != "FAIL"
        ]
        for study in facts.studies
    }


@dataclass(frozen=True)
class Judged:
    """A trial whose explanations were measured.

    Attributes:
        gain: insertion minus deletion area.
        part: ``default`` for lime's defaults, ``best``, or empty.
    """

    iou: float
    gain: float
    part: str


def judged_trials(study: StudyFacts) -> list[Judged]:
    """Return the trials whose IoU and faithfulness were measured."""
    parts = {
        trial.number: part
        for part, trial in (("default", study.default_trial), ("best", study.best_trial))
        if trial is not None
    }
    return [
        Judged(float(iou), fidelity.gain, parts.get(trial.number, ""))
        for trial in study.trials
        if (iou := trial.user_attrs.get("iou")) is not None
        and (fidelity := Fidelity.of(trial.user_attrs)) is not None
    ]


def importances(facts: ReportFacts) -> dict[str, float]:
    """Return Optuna's importance of parameters, mean over the studies with enough complete trials.

    It uses fANOVA (Hutter, Hoos and Leyton-Brown 2014) over the parameters that all trials of a
    study have. Of many trials, an evenly spaced sample is taken. Empty when no study has enough.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    studies = 0
    share = max(_LEAST_SHARE, _MOST_TRIALS // max(1, len(facts.studies)))
    for study in facts.studies:
        complete = [
            (trial, score)
            for trial in study.trials
            if trial.state.name == "COMPLETE"
            and trial.params
            and (score := trial_score(trial, study.weight)) is not None
        ]
        if len(complete) < FEWEST_FOR_IMPORTANCE:
            continue
        count = min(len(complete), share)
        taken = [complete[number * len(complete) // count] for number in range(count)]
        copy = optuna.create_study(direction="maximize")
        copy.add_trials([_scored(trial, score) for trial, score in taken])
        try:
            one = get_param_importances(copy, evaluator=FanovaImportanceEvaluator(seed=0))
        except (ValueError, RuntimeError):  # scores or parameters that do not vary
            continue
        studies += 1
        for name, value in one.items():
            found[name].append(float(value))
    return {name: sum(values) / studies for name, values in found.items()}


def _scored(trial: FrozenTrial, score: float) -> FrozenTrial:
    """Copy a trial with its score as its only value."""
    return create_trial(value=score, params=trial.params, distributions=trial.distributions)
