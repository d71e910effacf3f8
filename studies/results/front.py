"""IoU against seconds: which trials no other beats in both, and how one of them is chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from explainers.errors import InvalidInput
from studies.results.score import score

__all__ = [
    "ByWeight", "Choice", "FrontPoint", "Timed", "WithinBudget", "front_document", "pareto_front",
]  # fmt: skip


class Timed(Protocol):
    """A finished trial, as far as the front goes by it."""

    @property
    def number(self) -> int:
        """Of the trial."""

    @property
    def iou(self) -> float:
        """Mean over its seeds, in [0, 1]."""

    @property
    def runtime_seconds(self) -> float:
        """Of one explanation, by the runtime model."""


_T = TypeVar("_T", bound=Timed)


@dataclass(frozen=True)
class FrontPoint:
    """A finished trial without its parameters.

    Attributes:
        runtime_ratio: seconds relative to lime's defaults on the same image.
    """

    number: int
    iou: float
    runtime_seconds: float
    runtime_ratio: float

    def score(self, weight: float) -> float:
        """With that runtime weight."""
        return score(self.iou, self.runtime_ratio, weight)


def pareto_front(trials: Iterable[_T]) -> list[_T]:
    """The trials that no other beats in both IoU and seconds, fastest first.

    Of trials that are alike in both the earliest stays.
    """
    front: list[_T] = []
    for trial in sorted(trials, key=lambda t: (t.runtime_seconds, -t.iou, t.number)):
        if not front or trial.iou > front[-1].iou:
            front.append(trial)
    return front


def front_document(front: Sequence[FrontPoint]) -> list[dict[str, float]]:
    """Plain values, as ``status --json`` and ``tune --json`` show them."""
    return [
        {
            "number": point.number,
            "iou": point.iou,
            "runtime_seconds": point.runtime_seconds,
            "runtime_ratio": point.runtime_ratio,
        }
        for point in front
    ]


class Choice(Protocol):
    """A way to choose one of a study's trials."""

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """One of at least one point.

        Raises:
            InvalidInput: none will do.
        """


@dataclass(frozen=True)
class ByWeight:
    """The best score, with a runtime weight that need not be the study's own.

    Raises:
        InvalidInput: the weight is below zero, or no number.
    """

    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise InvalidInput(f"runtime weight {self.weight}: give a number from 0 up")

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """The earliest of the best."""
        return max(points, key=lambda point: (point.score(self.weight), -point.number))


@dataclass(frozen=True)
class WithinBudget:
    """The best IoU of what takes no longer.

    Attributes:
        seconds: of one explanation.

    Raises:
        InvalidInput: the budget is not above zero.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise InvalidInput(f"budget {self.seconds}: give seconds above 0")

    def of(self, points: Sequence[FrontPoint]) -> FrontPoint:
        """Of the best the fastest, of those the earliest."""
        fitting = [point for point in points if point.runtime_seconds <= self.seconds]
        if not fitting:
            fastest = min(points, key=lambda p: (p.runtime_seconds, -p.iou, p.number))
            raise InvalidInput(
                f"nothing is within {self.seconds:g} s: the fastest, trial {fastest.number}, takes "
                f"{fastest.runtime_seconds:.3g} s with IoU {fastest.iou:.3f}"
            )
        return max(fitting, key=lambda p: (p.iou, -p.runtime_seconds, -p.number))
