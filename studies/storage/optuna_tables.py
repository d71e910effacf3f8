"""Optuna's tables, as far as we read and write them by SQL.

Optuna's own calls load all trials of a study, and create a study and its attributes one after the
other. Everything else goes through Optuna. The columns are those of its schema since 3.2; a test
checks that the installed version has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Connection, DateTime, Enum, Float, Integer, String, Table

from studies.results.attributes import WORKER
from studies.storage.heartbeats import grace_seconds

__all__ = [
    "STUDIES", "STUDY_ATTRIBUTES", "STUDY_DIRECTIONS", "TABLES", "TRIALS",
    "TRIAL_ATTRIBUTES", "TRIAL_SYSTEM_ATTRIBUTES", "TRIAL_VALUES", "RunningTrial",
    "add_attributes", "add_study", "attribute_of", "running_trials",
]  # fmt: skip

TABLES = sqlalchemy.MetaData()
# PostgreSQL has types with these names, which Optuna creates.
_STATE = Enum("RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL", name="trialstate")
_DIRECTION = Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")

STUDIES = Table(
    "studies", TABLES, Column("study_id", Integer, primary_key=True), Column("study_name", String)
)
STUDY_DIRECTIONS = Table(
    "study_directions", TABLES,
    Column("study_id", Integer), Column("objective", Integer), Column("direction", _DIRECTION),
)  # fmt: skip
TRIALS = Table(
    "trials", TABLES,
    Column("trial_id", Integer, primary_key=True), Column("study_id", Integer),
    Column("number", Integer), Column("state", _STATE), Column("datetime_complete", DateTime),
)  # fmt: skip
TRIAL_VALUES = Table(
    "trial_values", TABLES,
    Column("trial_id", Integer), Column("objective", Integer), Column("value", Float),
)  # fmt: skip
_HEARTBEATS = Table(
    "trial_heartbeats", TABLES, Column("trial_id", Integer), Column("heartbeat", DateTime)
)


def _attributes(name: str, owner: str) -> Table:
    return Table(
        name, TABLES, Column(owner, Integer), Column("key", String), Column("value_json", String)
    )


STUDY_ATTRIBUTES = _attributes("study_user_attributes", "study_id")
TRIAL_ATTRIBUTES = _attributes("trial_user_attributes", "trial_id")
TRIAL_SYSTEM_ATTRIBUTES = _attributes("trial_system_attributes", "trial_id")


def attribute_of(attributes: sqlalchemy.FromClause, key: str) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition that joins ``TRIALS`` with one of their attributes."""
    return sqlalchemy.and_(attributes.c.trial_id == TRIALS.c.trial_id, attributes.c.key == key)


@dataclass(frozen=True)
class RunningTrial:
    """A trial in the state ``RUNNING``.

    Attributes:
        worker: ``HOST:PID``; ``None`` where it is not stored yet.
        heard: seconds since its last heartbeat, by the database's clock; ``None`` before the first.
    """

    study: str
    trial_id: int
    number: int
    worker: str | None
    heard: float | None

    @property
    def silent(self) -> bool:
        """Whether it had no heartbeat for so long that its worker counts as dead."""
        return self.heard is None or self.heard > grace_seconds()


def running_trials(connection: Connection) -> list[RunningTrial]:
    """Return all running trials of a storage, oldest first."""
    now = _plain(connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar_one())
    rows = connection.execute(
        sqlalchemy.select(
            STUDIES.c.study_name, TRIALS.c.trial_id, TRIALS.c.number,
            TRIAL_ATTRIBUTES.c.value_json, _HEARTBEATS.c.heartbeat,
        )
        .select_from(TRIALS)
        .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
        .outerjoin(TRIAL_ATTRIBUTES, attribute_of(TRIAL_ATTRIBUTES, WORKER))
        .outerjoin(_HEARTBEATS, _HEARTBEATS.c.trial_id == TRIALS.c.trial_id)
        .where(TRIALS.c.state == "RUNNING")
        .order_by(TRIALS.c.trial_id)
    )  # fmt: skip
    return [
        RunningTrial(
            study, trial_id, number,
            None if worker is None else str(json.loads(worker)),
            None if beat is None else max(0.0, (now - _plain(beat)).total_seconds()),
        )
        for study, trial_id, number, worker, beat in rows
    ]  # fmt: skip


def _plain(moment: datetime) -> datetime:
    """Drop the time zone, which PostgreSQL's clock has and the column has not."""
    return moment.replace(tzinfo=None)


def add_study(
    engine: sqlalchemy.Engine, name: str, directions: Sequence[str], attributes: Mapping[str, Any]
) -> bool:
    """Create a study with its user attributes in one transaction.

    Optuna creates a study and then one attribute after the other. Another process that opens it in
    between sees an incomplete study, and of two processes that write an attribute the last wins.
    Here the database lets only the first one succeed.

    Args:
        directions: ``MINIMIZE`` or ``MAXIMIZE``, by objective.

    Returns:
        Whether it was created; ``False`` where there is a study of that name.
    """
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.insert(STUDIES).values(study_name=name))
            query = sqlalchemy.select(STUDIES.c.study_id).where(STUDIES.c.study_name == name)
            study_id = connection.execute(query).scalar_one()
            rows = [
                {"study_id": study_id, "objective": number, "direction": direction}
                for number, direction in enumerate(directions)
            ]
            connection.execute(sqlalchemy.insert(STUDY_DIRECTIONS), rows)
            _insert_attributes(connection, study_id, attributes)
    except sqlalchemy.exc.IntegrityError:
        return False
    return True


def add_attributes(engine: sqlalchemy.Engine, study_id: int, attributes: Mapping[str, Any]) -> bool:
    """Add new user attributes to a study.

    Returns:
        Whether they were written; ``False``, and none is written, where it already has one of them.
    """
    try:
        with engine.begin() as connection:
            _insert_attributes(connection, study_id, attributes)
    except sqlalchemy.exc.IntegrityError:
        return False
    return True


def _insert_attributes(
    connection: Connection, study_id: int, attributes: Mapping[str, Any]
) -> None:
    rows = [
        {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]
    if rows:
        connection.execute(sqlalchemy.insert(STUDY_ATTRIBUTES), rows)
