"""Which study needs a trial most: first everybody's share, then where it still pays off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.queries import StudyOverview
from studies.results.stagnation import is_stagnant, trials_without_gain
from tuner.problem.settings import TuningSettings

__all__ = ["Need", "neediest", "needs"]


@dataclass(frozen=True)
class Need:
    """A study that is not done.

    Attributes:
        share: of its trials that are finished or being run, from 0 to 1. From 1 to 2 for studies
            that have theirs and may go on: how much of what they have has brought nothing.
        lost: it has its trials, and one besides that a dead worker has left.
    """

    study: str
    share: float
    lost: bool = False


def needs(rows: Sequence[StudyOverview], plans: Mapping[str, TuningSettings]) -> list[Need]:
    """The studies with room for one more trial, the neediest first."""
    found = []
    for row in rows:
        plan = plans.get(row.study)
        if plan is None:
            continue
        taken = row.finished + row.trials.get("RUNNING", 0)
        if taken < plan.trials:
            found.append(Need(row.study, taken / plan.trials))
        elif row.lost and plan.answers is None:
            found.append(Need(row.study, 1.0, lost=True))
        elif plan.beyond and not is_stagnant(row.finished, row.best_number):
            # Trials that are being run count as vain until they are not, so that several workers
            # spread over the studies.
            vain = trials_without_gain(row.finished, row.best_number) + row.trials.get("RUNNING", 0)
            found.append(Need(row.study, 1 + vain / max(taken, 1)))
    return sorted(found, key=lambda need: (need.share, need.study))


def neediest(found: Sequence[Need], refused: Mapping[str, str]) -> str | None:
    """The study to work on; ``None`` when there is none that this machine may work on."""
    return next((need.study for need in found if need.study not in refused), None)
