"""Helpers of several commands for studies with two objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from studies.results.front import ByWeight, WithinBudget

if TYPE_CHECKING:
    from studies.results.front import Choice, FrontPoint

__all__ = ["choice_of", "shown_front"]


def choice_of(budget: float | None, weight: float | None) -> Choice | None:
    """The choice that ``--budget`` or ``--weight`` asks for; ``None`` without either.

    Raises:
        InvalidInput: both are given, or the value is out of range.
    """
    if budget is not None and weight is not None:
        raise InvalidInput("--budget and --weight are two ways to choose: give one of them")
    if budget is not None:
        return WithinBudget(budget)
    return None if weight is None else ByWeight(weight)


def shown_front(front: Sequence[FrontPoint] | None) -> str:
    """The number of points of a front and its two ends, in words."""
    if not front:
        return ""
    ends = [f"{p.iou:.3f} in {p.runtime_seconds:.2g} s" for p in (front[0], front[-1])]
    return f"{len(front)}: {' … '.join(dict.fromkeys(ends))}"
