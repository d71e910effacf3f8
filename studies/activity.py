"""What goes on in the studies of a storage: who runs what, what failed, when it last got better.

A few SQL queries for all studies together, like :mod:`studies.overview`; nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy

from studies.attributes import FAILURE, WORKER
from studies.heartbeats import grace_seconds
from studies.overview import StudyOverview
from studies.storage import opened_tables

__all__ = ["FailedTrial", "RunningTrial", "StudyActivity", "activity", "running_trials"]

_UNTOLD = "no reason is recorded: the worker died, or lost the database"
_TABLES = ("studies", "trials", "trial_heartbeats", "trial_user_attributes")


@dataclass(frozen=True)
class RunningTrial:
    """A trial that somebody has begun.

    Attributes:
        worker: ``HOST:PID``; ``None`` where it was not said yet.
        heard: seconds since its last sign of life, by the database's clock; ``None`` before the
            first.
    """

    study: str
    number: int
    worker: str | None
    heard: float | None

    @property
    def silent(self) -> bool:
        """Whether its worker seems to be dead."""
        return self.heard is None or self.heard > grace_seconds()


@dataclass(frozen=True)
class FailedTrial:
    """A trial that came to nothing.

    Attributes:
        at: UTC.
    """

    number: int
    worker: str | None
    reason: str
    at: datetime | None


@dataclass(frozen=True)
class StudyActivity:
    """What goes on in one study.

    Attributes:
        improved: UTC, when the best trial ended.
        since_best: finished trials with a higher number than the best.
        failures: in order.
    """

    improved: datetime | None = None
    since_best: int | None = None
    running: tuple[RunningTrial, ...] = ()
    failures: tuple[FailedTrial, ...] = ()

    @property
    def workers(self) -> tuple[str, ...]:
        """Who runs a trial and gives signs of life, each once."""
        alive = {each.worker or "unknown" for each in self.running if not each.silent}
        return tuple(sorted(alive))


def activity(storage: str, rows: Sequence[StudyOverview]) -> dict[str, StudyActivity]:
    """What goes on in some studies, by their name.

    Args:
        rows: as :func:`studies.overview.overview` gave them for the same storage.

    Raises:
        StorageError: the storage cannot be read.
    """
    if not rows:
        return {}
    with opened_tables(storage, _TABLES) as (connection, meta):
        busy = any(row.trials.get("RUNNING") for row in rows)
        running = _running(connection, meta) if busy else []
        failed = any(row.trials.get("FAIL") for row in rows)
        failures = _failures(connection, meta) if failed else {}
        return {
            row.study: StudyActivity(
                *_improvement(connection, meta, row),
                tuple(each for each in running if each.study == row.study),
                tuple(failures.get(row.study, ())),
            )
            for row in rows
        }


def running_trials(connection: sqlalchemy.Connection) -> list[RunningTrial]:
    """All trials of a storage that are being run."""
    meta = sqlalchemy.MetaData()
    meta.reflect(connection, only=list(_TABLES))
    return _running(connection, meta)


def _running(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData
) -> list[RunningTrial]:
    studies, trials = meta.tables["studies"], meta.tables["trials"]
    beats, who = meta.tables["trial_heartbeats"], meta.tables["trial_user_attributes"]
    now = _plain(connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar_one())
    rows = connection.execute(
        sqlalchemy.select(
            studies.c.study_name, trials.c.number, who.c.value_json, beats.c.heartbeat
        )
        .select_from(trials)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .outerjoin(who, _attribute_of(who, trials, WORKER))
        .outerjoin(beats, beats.c.trial_id == trials.c.trial_id)
        .where(trials.c.state == "RUNNING")
        .order_by(trials.c.trial_id)
    )
    return [
        RunningTrial(
            name,
            number,
            None if worker is None else str(json.loads(worker)),
            None if beat is None else max(0.0, (now - _plain(beat)).total_seconds()),
        )
        for name, number, worker, beat in rows
    ]


def _failures(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData
) -> dict[str, list[FailedTrial]]:
    studies, trials = meta.tables["studies"], meta.tables["trials"]
    who = meta.tables["trial_user_attributes"].alias()
    why = meta.tables["trial_user_attributes"].alias()
    rows = connection.execute(
        sqlalchemy.select(
            studies.c.study_name, trials.c.number, who.c.value_json, why.c.value_json,
            trials.c.datetime_complete,
        )
        .select_from(trials)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .outerjoin(who, _attribute_of(who, trials, WORKER))
        .outerjoin(why, _attribute_of(why, trials, FAILURE))
        .where(trials.c.state == "FAIL")
        .order_by(trials.c.study_id, trials.c.number)
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


def _improvement(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, row: StudyOverview
) -> tuple[datetime | None, int | None]:
    """When the best trial ended, and how many have finished since."""
    if row.best_number is None:
        return None, None
    studies, trials = meta.tables["studies"], meta.tables["trials"]
    mine = sqlalchemy.and_(
        trials.c.study_id == studies.c.study_id, studies.c.study_name == row.study
    )
    at = connection.execute(
        sqlalchemy.select(trials.c.datetime_complete)
        .join(studies, mine)
        .where(trials.c.number == row.best_number)
    ).scalar()
    since = connection.execute(
        sqlalchemy.select(sqlalchemy.func.count())
        .select_from(trials)
        .join(studies, mine)
        .where(trials.c.number > row.best_number, trials.c.state.in_(("COMPLETE", "PRUNED")))
    ).scalar_one()
    return at, int(since)


def _attribute_of(attributes: Any, trials: Any, key: str) -> Any:
    return sqlalchemy.and_(attributes.c.trial_id == trials.c.trial_id, attributes.c.key == key)


def _plain(moment: datetime) -> datetime:
    """Without a time zone: PostgreSQL's clock has one, the column has none."""
    return moment.replace(tzinfo=None)
