"""Summarise a study's results, in the form of ``tune --json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from explainers.lime import LimeParameters
from explainers.masks import stored_coverage
from studies.queries import reliability_of
from studies.results.best_trial import best_trial, front_of, has_front, trial_score, weight_of
from studies.results.explained_class import ExplainedClass
from studies.results.front import FrontPoint, front_document
from studies.results.runtime_doubt import runtime_doubt
from studies.results.trial_record import TrialRecord

if TYPE_CHECKING:
    import optuna

__all__ = ["StudySummary", "image_document", "studies_document", "summarise"]


@dataclass(frozen=True)
class StudySummary:
    """Results of a study's trials.

    Attributes:
        parameters: of the best trial.
        best, default: the best trial and lime's own defaults as in ``tune --json``; before the
            defaults are finished ``default`` is the best trial.
        trials: number of finished trials, including the ``pruned`` ones.
        compared: whether the trial of lime's own defaults is finished.
        front: Pareto front of a study with two objectives, fastest first; ``None`` with one.
    """

    parameters: LimeParameters
    best: dict[str, Any]
    default: dict[str, Any]
    trials: int
    pruned: int
    compared: bool
    front: tuple[FrontPoint, ...] | None = None


def summarise(study: optuna.Study) -> StudySummary | None:
    """Summarise a study; ``None`` when none of its trials has a result."""
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    pruned = sum(t.state == TrialState.PRUNED for t in trials)
    scored = [
        (t, r) for t in complete if (r := TrialRecord.from_attributes(t.user_attrs)) is not None
    ]
    if not scored:
        return None
    weight = weight_of(study.user_attrs)
    best = best_trial(study)  # a worker may have finished it since the trials were read
    record = None if best is None else TrialRecord.from_attributes(best.user_attrs)
    if best is None or record is None:
        best, record = scored[0]  # no trial has a score, or the best one is by another program
    defaults = [pair for pair in scored if pair[1].parameters.are_default]
    default, default_record = defaults[0] if defaults else (best, record)
    return StudySummary(
        parameters=record.parameters,
        best=record.summary(best.number, trial_score(best, weight) or 0.0),
        default=default_record.summary(default.number, trial_score(default, weight) or 0.0),
        trials=len(complete) + pruned,
        pruned=pruned,
        compared=bool(defaults),
        front=tuple(front_of(study)) if has_front(study) else None,
    )


def image_document(study: optuna.Study) -> dict[str, Any]:
    """Return one image of ``tune --json``; ``best`` and ``default`` may be ``None``."""
    summary = summarise(study)
    explained = ExplainedClass.of(study.user_attrs)
    reference = study.user_attrs.get("reference")
    document: dict[str, Any] = {
        "trials": summary.trials if summary else 0,
        "pruned": summary.pruned if summary else 0,
        "best": summary.best if summary else None,
        "default": summary.default if summary and summary.compared else None,
        "reliability": reliability_of(reference),
        "coverage": stored_coverage(reference),
        "class": None if explained is None else explained.to_json(),
        "runtime_doubt": runtime_doubt(study.user_attrs.get("runtime_model")),
    }
    if summary and summary.front is not None:
        document["front"] = front_document(summary.front)
    return document


def studies_document(prefix: str, images: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the document of ``tune --json``."""
    return {"study": prefix, "images": images}
