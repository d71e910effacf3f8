"""What candidates for a portfolio give on every image of stored studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from explainers.errors import InvalidInput
from explainers.lime_parameters import LimeParameters
from studies.catalog_names import CATALOG_KEY
from studies.trial_record import TrialRecord
from tuner.objective import score
from tuner.portfolio import Candidate, ScoredCandidates, distinct

if TYPE_CHECKING:
    import optuna

    from tuner.task import TuningTask

__all__ = ["score_candidates", "stored_candidates"]


def stored_candidates(
    studies: Mapping[str, optuna.Study], most_samples: int, each: int
) -> list[Candidate]:
    """The best parameter sets of every study, none twice.

    Args:
        studies: by key; that of the whole catalogue may be among them.
        most_samples: dearer settings are tried with so many samples instead.
        each: how many a study, of different superpixel maps or hide colours.

    Raises:
        InvalidInput: no study has a finished trial.
    """
    found: list[Candidate] = []
    for key, study in studies.items():
        ranked = sorted(
            ((trial.value, trial.number, record) for trial, record in _complete(study)),
            key=lambda each: (-each[0], each[1]),
        )
        arms: set[Any] = set()
        for _, _, record in ranked:
            parameters = record.parameters
            arm = (parameters.segmentation, parameters.hide_color)
            if parameters == LimeParameters() or arm in arms:
                continue
            arms.add(arm)
            samples = min(parameters.num_samples, most_samples)
            found.append(Candidate(replace(parameters, num_samples=samples), frozenset({key})))
            if len(arms) == each * (1 if key != CATALOG_KEY else len(studies)):
                break
    if not found:
        raise InvalidInput("no study has a finished trial yet: run lime-tuner tune first")
    return distinct(found)


def _complete(study: optuna.Study) -> list[tuple[Any, TrialRecord]]:
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [
        (trial, record)
        for trial in trials
        if trial.value is not None
        and (record := TrialRecord.from_attributes(trial.user_attrs)) is not None
        and not record.reason
    ]


def score_candidates(
    candidates: Sequence[Candidate],
    tasks: Mapping[str, TuningTask],
    best: Mapping[str, float],
    weight: float,
    seeds: Sequence[int],
    told: Callable[[str, float, float], None] = lambda what, done, of: None,
) -> ScoredCandidates:
    """Explain every image with every candidate, on seeds that chose none of them.

    Args:
        tasks: by key.
        best: the best score of each image's own study, where it has one.
        weight: of the runtime.
    """
    scores = np.empty((len(candidates), len(tasks)))
    for row, candidate in enumerate(candidates):
        for column, (key, task) in enumerate(tasks.items()):
            told(key, row * len(tasks) + column, len(candidates) * len(tasks))
            iou = float(np.mean(task.ious(candidate.parameters, seeds)))
            scores[row, column] = score(iou, task.runtime_ratio(candidate.parameters), weight)
    known = np.array([best.get(key, -np.inf) for key in tasks])
    return ScoredCandidates(
        tuple(candidates), tuple(tasks), scores, np.maximum(known, scores.max(axis=0))
    )
