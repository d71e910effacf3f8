"""What a study has found, in the words of ``tune --json``."""

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
    """What the trials of a study have found.

    Attributes:
        best, default: as in ``tune --json``; before the defaults are done ``default`` is the best.
        trials: finished trials; ``pruned`` of them were stopped early.
        compared: whether lime's own defaults are done.
        front: of a study with two objectives, fastest first; ``None`` where there is one.
    """

    parameters: LimeParameters
    best: dict[str, Any]
    default: dict[str, Any]
    trials: int
    pruned: int
    compared: bool
    front: tuple[FrontPoint, ...] | None = None


def summarise(study: optuna.Study) -> StudySummary | None:
    """What a study has found; ``None`` when none of its trials has a result."""
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    pruned = sum(t.state == TrialState.PRUNED for t in trials)
    scored = [
        (t, r) for t in complete if (r := TrialRecord.from_attributes(t.user_attrs)) is not None
    ]
    if not scored:
        return None
    weight = weight_of(study.user_attrs)
    best = best_trial(study)  # which a worker may have finished since the trials were read
    record = None if best is None else TrialRecord.from_attributes(best.user_attrs)
    if best is None or record is None:
        best, record = scored[0]  # nothing that could win, or others' trials
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
    """One image of ``tune --json``; ``best`` and ``default`` are ``None`` before there are any."""
    summary = summarise(study)
    explained = ExplainedClass.of(study.user_attrs)
    reference = study.user_attrs.get("reference")
    common: dict[str, Any] = {
        "reliability": reliability_of(reference),
        "coverage": stored_coverage(reference),
        "class": None if explained is None else explained.to_json(),
        "runtime_doubt": runtime_doubt(study.user_attrs.get("runtime_model")),
    }
    if summary is None:
        return {"trials": 0, "pruned": 0, "best": None, "default": None, **common}
    document = {
        "trials": summary.trials,
        "pruned": summary.pruned,
        "best": summary.best,
        "default": summary.default if summary.compared else None,
        **common,
    }
    if summary.front is not None:
        document["front"] = front_document(summary.front)
    return document


def studies_document(prefix: str, images: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The document of ``tune --json``."""
    return {"study": prefix, "images": images}
