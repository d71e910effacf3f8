"""The Pareto front of IoU and seconds, and rules that choose one trial of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

from explainers.errors import InvalidInput
from studies.results.score import score

__all__ = [
    "ByWeight", "Choice", "FrontPoint", "Timed", "WithinBudget", "front_document", "pareto_front",
]  # fmt: skip


class Timed(Protocol):
    """What a Pareto front needs of a finished trial: ``iou`` in [0, 1], and modelled seconds."""

    @property
    def number(self) -> int: ...

    @property
    def iou(self) -> float: ...

    @property
    def runtime_seconds(self) -> float: ...


_T = TypeVar("_T", bound=Timed)


@dataclass(frozen=True)
class FrontPoint:
    """A finished trial without its parameters.

    Attributes:
        iou: mean over the trial's seeds, in [0, 1].
        runtime_seconds: of one explanation by the runtime model.
        runtime_ratio: seconds relative to lime's defaults on the same image.
    """

    number: int
    iou: float
    runtime_seconds: float
    runtime_ratio: float

    def score(self, weight: float) -> float:
        """Return the score with a runtime weight."""
        return score(self.iou, self.runtime_ratio, weight)


def pareto_front(trials: Iterable[_T]) -> list[_T]:
    """Return the trials that no other beats in both IoU and seconds, fastest first.

    Of trials with equal IoU and seconds only the earliest is on the front.
    """
    front: list[_T] = []
    for trial in sorted(trials, key=lambda t: (t.runtime_seconds, -t.iou, t.number)):
        if not front or trial.iou > front[-1].iou:
            front.append(trial)
    return front


def front_document(front: Sequence[FrontPoint]) -> list[dict[str, float]]:
    """Return plain values for ``status --json`` and ``tune --json``."""
    return [asdict(point) for point in front]


class Choice(Protocol):
    """A rule that chooses one of a study's trials."""

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """Choose one of at least one point.

        Raises:
            InvalidInput: no point meets the rule.
        """


@dataclass(frozen=True)
class ByWeight:
    """Choose the best score for a runtime weight, which may differ from the study's.

    Raises:
        InvalidInput: the weight is negative, infinite or NaN.
    """

    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise InvalidInput(f"runtime weight {self.weight}: give a number from 0 up")

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """Return the earliest point with the best score."""
        return max(points, key=lambda point: (point.score(self.weight), -point.number))


@dataclass(frozen=True)
class WithinBudget:
    """Choose the best IoU of the trials within a budget of seconds for one explanation.

    Raises:
        InvalidInput: the budget is not above zero.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise InvalidInput(f"budget {self.seconds}: give seconds above 0")

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """Return the point with the best IoU; of equal ones the fastest, then the earliest."""
        fitting = [point for point in points if point.runtime_seconds <= self.seconds]
        if not fitting:
            fastest = min(points, key=lambda p: (p.runtime_seconds, -p.iou, p.number))
            raise InvalidInput(
                f"nothing is within {self.seconds:g} s: the fastest, trial {fastest.number}, takes "
                f"{fastest.runtime_seconds:.3g} s with IoU {fastest.iou:.3f}"
            )
        return max(fitting, key=lambda p: (p.iou, -p.runtime_seconds, -p.number))
