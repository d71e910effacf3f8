"""What the commands have in common about studies of two objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from studies.results.front import ByWeight, WithinBudget

if TYPE_CHECKING:
    from studies.results.front import Choice, FrontPoint

__all__ = ["choice_of", "shown_front"]


def choice_of(budget: float | None, weight: float | None) -> Choice | None:
    """What ``--budget`` and ``--weight`` ask for; ``None`` without either.

    Raises:
        InvalidInput: both, or a value that makes no sense.
    """
    if budget is not None and weight is not None:
        raise InvalidInput("--budget and --weight are two ways to choose: give one of them")
    if budget is not None:
        return WithinBudget(budget)
    return None if weight is None else ByWeight(weight)


def shown_front(front: Sequence[FrontPoint] | None) -> str:
    """How many points, and both ends."""
    if not front:
        return ""
    ends = [f"{p.iou:.3f} in {p.runtime_seconds:.2g} s" for p in (front[0], front[-1])]
    return f"{len(front)}: {' … '.join(dict.fromkeys(ends))}"
