"""What the commands have in common about studies of two objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput

if TYPE_CHECKING:
    from studies.front import Choice, FrontPoint
    from studies.overview import StudyOverview

__all__ = ["choice_of", "refuse_other_objectives", "shown_front"]


def choice_of(budget: float | None, weight: float | None) -> Choice | None:
    """What ``--budget`` and ``--weight`` ask for; ``None`` without either.

    Raises:
        InvalidInput: both, or a value that makes no sense.
    """
    from studies.front import ByWeight, WithinBudget

    if budget is not None and weight is not None:
        raise InvalidInput("--budget and --weight are two ways to choose: give one of them")
    if budget is not None:
        return WithinBudget(budget)
    return None if weight is None else ByWeight(weight)


def refuse_other_objectives(
    rows: Sequence[StudyOverview], studies: Sequence[str], pareto: bool
) -> None:
    """Studies of a name that are there must have been made with or without ``--pareto``, as now.

    Raises:
        InvalidInput: one was not.
    """
    from tuner.tuning import check_objectives

    for row in rows:
        if row.study in studies:
            check_objectives(row.study, row.front is not None, pareto)


def shown_front(front: Sequence[FrontPoint] | None) -> str:
    """How many points, and both ends."""
    if not front:
        return ""
    ends = [f"{p.iou:.3f} in {p.runtime_seconds:.2g} s" for p in (front[0], front[-1])]
    return f"{len(front)}: {' … '.join(dict.fromkeys(ends))}"
