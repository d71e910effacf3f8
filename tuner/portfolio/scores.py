"""Collects candidates for a portfolio from stored studies, and scores them on every image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import TrialState

from explainers.errors import InvalidInput
from explainers.lime import HideColor, Segmentation
from studies.catalog.names import CATALOG_KEY
from studies.results.score import score
from studies.results.trial_record import TrialRecord
from tuner.portfolio.portfolio import Contender, ScoredContenders, choose, distinct
from tuner.problem import ALL_FEATURES, SearchSpace
from tuner.samplers import Candidate, CatalogCandidates, smoothed

if TYPE_CHECKING:
    import optuna

    from tuner.problem import CatalogTask, TuningTask

__all__ = ["probed_candidates", "score_candidates", "stored_candidates"]

_AT_ONCE = 5
_FAR_BEHIND = 0.06


def stored_candidates(
    studies: Mapping[str, optuna.Study], most_samples: int, each: int
) -> list[Contender]:
    """The best parameter sets of every study, without repetitions.

    Args:
        studies: by key; that of the whole catalogue may be among them.
        most_samples: settings with more samples are tried with this number instead.
        each: how many of each study, with different superpixel maps or hide colours.

    Raises:
        InvalidInput: no study has a finished trial.
    """
    found: list[Contender] = []
    for key, study in studies.items():
        taken: set[tuple[Segmentation | None, HideColor]] = set()
        for record in _ranked(study):
            parameters = record.parameters.about(None)  # without the class they were made for
            map_and_color = (parameters.segmentation, parameters.hide_color)
            if record.parameters.are_default or map_and_color in taken:
                continue
            taken.add(map_and_color)
            samples = min(parameters.num_samples, most_samples)
            found.append(Contender(replace(parameters, num_samples=samples), frozenset({key})))
            if len(taken) == each * (1 if key != CATALOG_KEY else len(studies)):
                break
    if not found:
        raise InvalidInput("no study has a finished trial yet: run lime-tuner tune first")
    return distinct(found)


def probed_candidates(
    task: CatalogTask,
    study: optuna.Study,
    most_samples: int,
    count: int,
    on_progress: Callable[[str, float, float], None] = lambda what, done, of: None,
) -> list[Contender]:
    """Settings that complement each other, found by replaying the probes of a catalogue's study.

    Every setting that the cached predictions of the probes allow is replayed on every image, and
    its IoU is smoothed over its neighbours. Then settings are chosen greedily.

    Args:
        count: how many at most.
    """
    facts = study.user_attrs
    space = SearchSpace.from_json(facts["search_space"])
    weight = float(facts["runtime_weight"])
    candidates = CatalogCandidates(task, space, weight)
    rows: list[list[float]] = []
    settings: list[dict[str, Any]] = []
    probed = _probed(study, candidates)
    for number, (candidate, samples) in enumerate(probed.items()):
        on_progress("replaying probes", number, len(probed))
        ious = candidates.on_every_image(candidate, min(samples, most_samples))
        superpixels = candidates.view(candidate).superpixels
        for setting, shrunk in smoothed(ious).items():
            if superpixels < min(task.mask_rule.num_features, setting.num_features or 10**6):
                continue
            ratio = candidates.ratio(candidate, setting.num_samples, ALL_FEATURES)
            rows.append([score(iou, ratio, weight) for iou in shrunk])
            settings.append(candidates.flat_values(candidate, setting))
    chosen: list[int] = []
    left = np.array(rows).reshape(len(rows), len(task.tasks))
    while len(chosen) < min(count, len(rows)):
        some = [n for n in choose(left, _AT_ONCE) if n not in chosen]
        if not some:
            break
        chosen += some
        left[some] = -1.0
    return [
        Contender(space.parameters(settings[n]), frozenset({CATALOG_KEY})) for n in chosen[:count]
    ]


def _probed(study: optuna.Study, candidates: CatalogCandidates) -> dict[Candidate, int]:
    """Candidates that have predictions on all images, with their samples.

    Whether a probe was given up half way is not stored. All that were are far behind the best, so
    candidates that are far behind are left out.
    """
    entries = [
        (candidates.of(values), int(samples), float(value))
        for trial in study.get_trials(deepcopy=False)
        for values, samples, _, value in trial.user_attrs.get("probed", ())
    ]
    best = max((value for _, _, value in entries), default=0.0)
    return {
        candidate: samples
        for candidate, samples, value in entries
        if candidate is not None and value > best - _FAR_BEHIND
    }


def _ranked(study: optuna.Study) -> list[TrialRecord]:
    """The complete trials that were not given up, best first."""
    scored = [
        (-trial.value, trial.number, record)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.value is not None
        and (record := TrialRecord.from_attributes(trial.user_attrs)) is not None
        and not record.reason
    ]
    return [record for _, _, record in sorted(scored, key=lambda each: each[:2])]


def score_candidates(
    contenders: Sequence[Contender],
    tasks: Mapping[str, TuningTask],
    best: Mapping[str, float],
    weight: float,
    seeds: Sequence[int],
    on_progress: Callable[[str, float, float], None] = lambda what, done, of: None,
) -> ScoredContenders:
    """Score every contender on every image.

    Args:
        tasks: by key of the image.
        best: by key, the best score of the image's own study, where it has one.
        weight: the runtime weight.
        seeds: explainer seeds that were not used to find the contenders.
        told: called with (what, done, in all).
    """
    scores = np.empty((len(contenders), len(tasks)))
    for row, contender in enumerate(contenders):
        for column, (key, task) in enumerate(tasks.items()):
            on_progress(key, row * len(tasks) + column, len(contenders) * len(tasks))
            iou = float(np.mean(task.ious(contender.parameters, seeds)))
            scores[row, column] = score(iou, task.runtime_ratio(contender.parameters), weight)
    known = np.array([best.get(key, -np.inf) for key in tasks])
    return ScoredContenders(
        tuple(contenders), tuple(tasks), scores, np.maximum(known, scores.max(axis=0))
    )
