"""Running trials, failed trials and the last improvement of each study of a storage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy
from sqlalchemy import Connection

from studies.queries.overview import StudyOverview
from studies.results.attributes import FAILURE, WORKER
from studies.storage import connected
from studies.storage.optuna_tables import (
    STUDIES,
    TRIAL_ATTRIBUTES,
    TRIALS,
    RunningTrial,
    attribute_of,
    running_trials,
)

__all__ = ["FailedTrial", "StudyActivity", "activity"]

_UNTOLD = "no reason is recorded: the worker died, or lost the database"


@dataclass(frozen=True)
class FailedTrial:
    """A failed trial.

    Attributes:
        worker: ``HOST:PID``; ``None`` where it was not stored.
        reason: one line.
        at: UTC.
    """

    number: int
    worker: str | None
    reason: str
    at: datetime | None


@dataclass(frozen=True)
class StudyActivity:
    """Activity of one study.

    Attributes:
        improved: UTC, when the best trial ended; ``None`` without a best trial.
        since_best: number of finished trials with a higher number than the best.
        failures: in the order of their numbers.
    """

    improved: datetime | None = None
    since_best: int | None = None
    running: tuple[RunningTrial, ...] = ()
    failures: tuple[FailedTrial, ...] = ()

    @property
    def workers(self) -> tuple[str, ...]:
        """Workers that run a trial and send heartbeats, without duplicates."""
        alive = {each.worker or "unknown" for each in self.running if not each.silent}
        return tuple(sorted(alive))


def activity(storage: str, rows: Sequence[StudyOverview]) -> dict[str, StudyActivity]:
    """Return the activity of some studies, by name.

    Args:
        rows: results of :func:`studies.queries.overview` for the same storage.

    Raises:
        StorageError: the storage cannot be read.
    """
    if not rows:
        return {}
    with connected(storage) as connection:
        busy = any(row.trials.get("RUNNING") for row in rows)
        running = running_trials(connection) if busy else []
        failed = any(row.trials.get("FAIL") for row in rows)
        failures = _failures(connection) if failed else {}
        return {
            row.study: StudyActivity(
                *_improvement(connection, row),
                tuple(each for each in running if each.study == row.study),
                tuple(failures.get(row.study, ())),
            )
            for row in rows
        }


def _failures(connection: Connection) -> dict[str, list[FailedTrial]]:
    who, why = TRIAL_ATTRIBUTES.alias(), TRIAL_ATTRIBUTES.alias()
    rows = connection.execute(
        sqlalchemy.select(
            STUDIES.c.study_name, TRIALS.c.number, who.c.value_json, why.c.value_json,
            TRIALS.c.datetime_complete,
        )
        .select_from(TRIALS)
        .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
        .outerjoin(who, attribute_of(who, WORKER))
        .outerjoin(why, attribute_of(why, FAILURE))
        .where(TRIALS.c.state == "FAIL")
        .order_by(TRIALS.c.study_id, TRIALS.c.number)
    )  # fmt: skip
    found: dict[str, list[FailedTrial]] = {}
    for name, number, worker, reason, at in rows:
        found.setdefault(name, []).append(
            FailedTrial(
                number,
                None if worker is None else str(json.loads(worker)),
                _UNTOLD if reason is None else str(json.loads(reason)),
                at,
            )
        )
    return found


def _improvement(connection: Connection, row: StudyOverview) -> tuple[datetime | None, int | None]:
    """Return when the best trial ended, and how many later trials are finished."""
    if row.best_number is None:
        return None, None
    mine = sqlalchemy.and_(
        TRIALS.c.study_id == STUDIES.c.study_id, STUDIES.c.study_name == row.study
    )
    at = (
        sqlalchemy.select(TRIALS.c.datetime_complete)
        .join(STUDIES, mine)
        .where(TRIALS.c.number == row.best_number)
    )
    since = (
        sqlalchemy.select(sqlalchemy.func.count())
        .select_from(TRIALS)
        .join(STUDIES, mine)
        .where(TRIALS.c.number > row.best_number, TRIALS.c.state.in_(("COMPLETE", "PRUNED")))
    )
    return connection.execute(at).scalar(), connection.execute(since).scalar_one()
