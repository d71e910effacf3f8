"""What a trial has to beat, and what it tells its study: one score, or a place on the front."""

from __future__ import annotations

from typing import Protocol

import optuna
from optuna.trial import TrialState

from studies.best_trial import best_trial, point_of
from tuner.objectives.score import score
from tuner.problem import Rival
from tuner.problem.settings import TuningSettings

__all__ = ["FrontGoal", "Goal", "ScoreGoal", "goal_of"]


class Goal(Protocol):
    """Turns IoU and seconds into what is compared."""

    def price(self, runtime_ratio: float) -> float:
        """What the trial's runtime takes off its IoU before it is compared."""

    def rival(self, study: optuna.Study, runtime_seconds: float) -> Rival | None:
        """What a trial that takes so long has to beat; ``None`` where nothing is in its way."""

    def reached(self, rival: Rival) -> str:
        """The rival in words."""

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        """Show a running value to who watches."""

    def values(self, iou: float, runtime_seconds: float, runtime_ratio: float) -> list[float]:
        """What the study is told, one value for each objective."""


class ScoreGoal:
    """One objective: the best score wins.

    Args:
        weight: the study's runtime weight.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def price(self, runtime_ratio: float) -> float:
        """As much IoU as the study's weight says."""
        return self._weight * runtime_ratio

    def rival(self, study: optuna.Study, runtime_seconds: float) -> Rival | None:
        """The best complete trial."""
        best = best_trial(study)
        if best is None or best.value is None:
            return None
        price = self.price(float(best.user_attrs.get("runtime_ratio", 0.0)))
        ious = best.user_attrs.get("iou_per_seed", ())
        return Rival(best.value, tuple(iou - price for iou in ious))

    def reached(self, rival: Rival) -> str:
        """The best score."""
        return f"the best score {rival.score:.3f}"

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        """As an intermediate value."""
        trial.report(value, step=step)

    def values(self, iou: float, runtime_seconds: float, runtime_ratio: float) -> list[float]:
        """The score."""
        return [score(iou, runtime_ratio, self._weight)]


class FrontGoal:
    """Two objectives: a trial wins a place on the front when nothing as fast reaches its IoU."""

    def price(self, runtime_ratio: float) -> float:
        """None: only what takes no longer is a rival."""
        return 0.0

    def rival(self, study: optuna.Study, runtime_seconds: float) -> Rival | None:
        """The best IoU of the complete trials that take no longer."""
        best = None
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            point = point_of(trial)
            if point is None or point.runtime_seconds > runtime_seconds:
                continue
            if best is None or point.iou > best.score:
                best = Rival(point.iou, tuple(trial.user_attrs.get("iou_per_seed", ())))
        return best

    def reached(self, rival: Rival) -> str:
        """Its IoU."""
        return f"IoU {rival.score:.3f} of a trial that takes no longer"

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        """Optuna has no intermediate values of two objectives."""

    def values(self, iou: float, runtime_seconds: float, runtime_ratio: float) -> list[float]:
        """IoU and seconds, in the order of the study's directions."""
        return [iou, runtime_seconds]


def goal_of(settings: TuningSettings) -> Goal:
    """What trials compete for."""
    return FrontGoal() if settings.pareto else ScoreGoal(settings.runtime_weight)
