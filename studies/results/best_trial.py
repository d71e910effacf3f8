"""Find the best trial of a study with one objective or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from studies.results.front import ByWeight, FrontPoint, pareto_front

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = [
    "DEFAULT_RUNTIME_WEIGHT", "best_trial", "front_of", "has_front", "point_of", "trial_score",
    "weight_of",
]  # fmt: skip

DEFAULT_RUNTIME_WEIGHT = 0.1


def has_front(study: optuna.Study) -> bool:
    """Whether the study was made with ``tune --pareto``: IoU to maximise, seconds to minimise."""
    return len(study.directions) > 1


def weight_of(attributes: Mapping[str, Any]) -> float:
    """The runtime weight in a study's user attributes."""
    return float(attributes.get("runtime_weight", DEFAULT_RUNTIME_WEIGHT))


def point_of(trial: FrozenTrial) -> FrontPoint | None:
    """Return a complete trial's result; ``None`` where it has none."""
    found = trial.user_attrs
    if trial.state.name != "COMPLETE" or found.get("reason"):
        return None
    try:
        return FrontPoint(
            trial.number,
            float(found["iou"]),
            float(found["runtime_seconds"]),
            float(found["runtime_ratio"]),
        )
    except KeyError:
        return None


def trial_score(trial: FrozenTrial, weight: float) -> float | None:
    """Return the score of a trial, or ``None`` where it has none.

    In a study with one objective it is the trial's value; with two it is computed from both.

    Args:
        weight: the study's runtime weight.
    """
    values = trial.values
    if values is not None and len(values) == 1:
        return float(values[0])
    point = point_of(trial)
    return None if point is None else point.score(weight)


def front_of(study: optuna.Study) -> list[FrontPoint]:
    """Return the study's Pareto front, fastest first."""
    trials = study.get_trials(deepcopy=False)
    return pareto_front(point for t in trials if (point := point_of(t)) is not None)


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the earliest trial with the best score; ``None`` where none is complete."""
    if has_front(study):
        front = front_of(study)
        if not front:
            return None
        chosen = ByWeight(weight_of(study.user_attrs)).of(front)
        return study.get_trials(deepcopy=False)[chosen.number]
    try:
        return study.best_trial
    except ValueError:  # no trial is complete
        return None
