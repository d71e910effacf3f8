"""What the service is asked to do: one job for each image.

Trials are handed out by the image's Optuna study, to any number of workers. What is kept here is
what a person sees: state, reason, limits, seconds. Before its study exists a job is prepared by one
worker, whose update of the row won; it sends heartbeats, and the job of a worker that is silent
for too long is prepared by another.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from explainers.errors import InvalidInput
from studies.records.schema import records
from studies.records.tables import JobRow
from studies.storage import sqlite_path
from studies.storage.heartbeats import grace_seconds

__all__ = ["Job", "JobSettings", "Jobs", "NameTaken"]

_MOST_ATTEMPTS = 3
_SQLITE_BUSY_SECONDS = 60
_RUNNING = JobRow.state == "running"


class NameTaken(InvalidInput):
    """There are jobs of a study of that name."""


@dataclass(frozen=True)
class JobSettings:
    """What somebody has asked for.

    Attributes:
        trials: in all. timeout: seconds an image, after which no trial is started.
        reference: ``METHOD@RULE``, or ``masks``.
    """

    trials: int
    timeout: float | None
    reference: str

    def to_json(self) -> str:
        """A JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Job:
    """One image of a study.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``; ``reason`` says why.
        attempts: how often it was begun to be prepared.
        seconds: that workers spent on it, all together.
        created_at: UTC.
    """

    id: int
    study: str
    key: str
    settings: JobSettings
    state: str
    reason: str
    attempts: int
    seconds: float
    created_at: datetime

    @property
    def study_name(self) -> str:
        """The name of its Optuna study."""
        return f"{self.study}/{self.key}"


class Jobs:
    """The jobs of a storage. It may be used by several threads.

    What goes wrong with the database is raised as SQLAlchemy raises it, so that callers can tell
    one that is away (``studies.storage.reconnecting.UNREACHABLE``).

    Raises:
        StorageError: the storage cannot be used.
    """

    def __init__(self, storage: str) -> None:
        with records(storage):
            pass  # our tables are made, or brought to the newest version
        is_sqlite = sqlite_path(storage) is not None
        self._engine = sqlalchemy.create_engine(
            storage,
            pool_pre_ping=not is_sqlite,
            connect_args={"timeout": _SQLITE_BUSY_SECONDS} if is_sqlite else {},
        )

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def add(self, study: str, keys: Sequence[str], settings: JobSettings) -> None:
        """Queue the images of a new study.

        Raises:
            NameTaken: there is a study of that name, in whatever case.
        """
        taken = NameTaken(f"the study '{study}' exists already: choose another name")
        with Session(self._engine) as session:
            lowered = sqlalchemy.func.lower(JobRow.study) == study.lower()
            if session.execute(sqlalchemy.select(JobRow.id).where(lowered).limit(1)).first():
                raise taken
            for position, key in enumerate(keys):
                session.add(
                    JobRow(
                        study=study, position=position, image_key=key, state="queued", reason="",
                        settings=settings.to_json(), attempts=0, seconds=0.0, created_at=_now(),
                        finished=False,
                    )
                )  # fmt: skip
            try:
                session.commit()
            except sqlalchemy.exc.IntegrityError as error:
                raise taken from error

    def of(self, study: str) -> list[Job]:
        """The jobs of a study, in the order of its images; none when there is no such study."""
        return self._select(JobRow.study == study)

    def everything(self) -> list[Job]:
        """All jobs, the oldest first."""
        return self._select(sqlalchemy.true())

    def newest(self, studies: int) -> list[Job]:
        """The jobs of that many studies, the oldest first."""
        last = (
            sqlalchemy.select(JobRow.study)
            .where(JobRow.position == 0)
            .order_by(JobRow.id.desc())
            .limit(studies)
        )
        with Session(self._engine) as session:
            names = list(session.scalars(last))
        return self._select(JobRow.study.in_(names))

    def counts(self) -> Counter[str]:
        """How many jobs are in which state."""
        query = sqlalchemy.select(JobRow.state, sqlalchemy.func.count()).group_by(JobRow.state)
        with Session(self._engine) as session:
            return Counter({state: count for state, count in session.execute(query)})

    def _select(self, condition: sqlalchemy.ColumnElement[bool]) -> list[Job]:
        query = sqlalchemy.select(JobRow).where(condition).order_by(JobRow.id)
        with Session(self._engine) as session:
            # Names that differ in case are the same to some databases.
            return [_job(row) for row in session.scalars(query)]

    def at_work(self) -> list[Job]:
        """The jobs whose studies exist and are not done, the oldest first."""
        return self._select(_RUNNING & JobRow.heartbeat_at.is_(None))

    def claim(self, worker: str) -> Job | None:
        """Take the next job that is to be prepared; one study does not hold up all others.

        A job that is lost with its worker three times has failed.
        """
        late = _now() - timedelta(seconds=grace_seconds())
        unfinished = sqlalchemy.select(JobRow).where(JobRow.finished.is_(False)).order_by(JobRow.id)
        with Session(self._engine, expire_on_commit=False) as session:
            rows = list(session.scalars(unfinished))
        free = [row for row in rows if row.state == "queued" or _is_late(row, late)]
        at_work = Counter(row.study for row in rows) - Counter(row.study for row in free)
        for row in sorted(free, key=lambda row: (at_work[row.study], row.id)):
            if row.state == "running" and row.attempts >= _MOST_ATTEMPTS:
                self.end(
                    row.id, "failed",
                    f"its worker died {row.attempts} times: the server's log may say why",
                )  # fmt: skip
                continue
            # The number of attempts is what tells who was first.
            first = (JobRow.state == row.state) & (JobRow.attempts == row.attempts)
            if self._change(
                (JobRow.id == row.id) & first,
                state="running", worker=worker, attempts=row.attempts + 1, heartbeat_at=_now(),
                started_at=row.started_at or _now(),
            ):  # fmt: skip
                return replace(_job(row), state="running", attempts=row.attempts + 1)
        return None

    def beat(self, job: int, worker: str) -> bool:
        """Say that a job is being prepared; whether it still is this worker's."""
        return self._change(_preparing(job, worker), heartbeat_at=_now())

    def prepared(self, job: int, worker: str) -> None:
        """Open a job for trials, which any worker may run: its study exists."""
        self._change(_preparing(job, worker), heartbeat_at=None)

    def release(self, job: int, worker: str) -> None:
        """Put a job back that this worker was preparing. It does not count as an attempt."""
        self._put_back(_preparing(job, worker))

    def prepare_again(self, job: int) -> None:
        """Put a job back that was open for trials. What prepared it does not count any more."""
        self._put_back((JobRow.id == job) & _RUNNING & JobRow.heartbeat_at.is_(None))

    def _put_back(self, which: sqlalchemy.ColumnElement[bool]) -> None:
        attempts = JobRow.attempts - 1
        self._change(which, state="queued", worker=None, heartbeat_at=None, attempts=attempts)

    def spend(self, job: int, seconds: float) -> None:
        """Add to what was spent on a job."""
        self._change(JobRow.id == job, seconds=JobRow.seconds + seconds)

    def end(self, job: int, state: str, reason: str = "") -> None:
        """Finish a job that is at work. With one that failed its study is over."""
        ended = self._change(
            (JobRow.id == job) & _RUNNING,
            state=state, reason=reason, ended_at=_now(), finished=True,
        )  # fmt: skip
        if ended and state == "failed":
            study = sqlalchemy.select(JobRow.study).where(JobRow.id == job)
            with Session(self._engine) as session:
                name = session.scalars(study).one()
            self.cancel(name, "another image failed")

    def cancel(self, study: str, reason: str = "somebody has cancelled it") -> None:
        """Let a study end: what waits at once, what runs after the trial that is running."""
        self._change(
            (JobRow.study == study) & JobRow.finished.is_(False),
            state="cancelled", reason=reason, ended_at=_now(), finished=True,
        )  # fmt: skip

    def _change(self, which: sqlalchemy.ColumnElement[bool], **values: Any) -> bool:
        """Change rows; whether there were any."""
        update = sqlalchemy.update(JobRow).where(which).values(**values)
        with self._engine.begin() as connection:
            return connection.execute(update).rowcount > 0

    def ended_for(self, kept: timedelta) -> list[str]:
        """The studies whose images have all ended, the last one longer ago than that."""
        query = (
            sqlalchemy.select(JobRow.study)
            .group_by(JobRow.study)
            .having(
                sqlalchemy.func.count(JobRow.ended_at) == sqlalchemy.func.count(),
                sqlalchemy.func.max(JobRow.ended_at) < _now() - kept,
            )
            .order_by(sqlalchemy.func.min(JobRow.id))
        )
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def forget(self, study: str) -> None:
        """Remove the jobs of a study, whose name is then free."""
        with Session(self._engine) as session:
            session.execute(sqlalchemy.delete(JobRow).where(JobRow.study == study))
            session.commit()


def _preparing(job: int, worker: str) -> sqlalchemy.ColumnElement[bool]:
    mine = (JobRow.id == job) & (JobRow.worker == worker)
    return mine & _RUNNING & JobRow.heartbeat_at.is_not(None)


def _is_late(row: JobRow, late: datetime) -> bool:
    return row.heartbeat_at is not None and row.heartbeat_at < late


def _job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        study=row.study,
        key=row.image_key,
        settings=JobSettings(**json.loads(row.settings)),
        state=row.state,
        reason=row.reason,
        attempts=row.attempts,
        seconds=row.seconds,
        created_at=row.created_at,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
