"""What the service is asked to do: one job for each image, and the Optuna study is the work.

A job belongs to the worker whose update of its row won. While it works it sends heartbeats; the
job of a worker that is silent for too long is taken over. Nothing else coordinates workers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy
from sqlalchemy.orm import Session

from explainers.errors import InvalidInput
from studies.records.schema import records
from studies.records.tables import JobRow
from studies.storage import sqlite_path
from studies.storage.heartbeats import job_grace_seconds

__all__ = ["Job", "JobSettings", "Jobs", "NameTaken"]

_MOST_ATTEMPTS = 3
_SQLITE_BUSY_SECONDS = 60


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
        """As it is stored."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Job:
    """One image of a study.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``; ``reason`` says why.
        seconds: that were spent on it.
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
        """Of its Optuna study."""
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

    def claim(self, worker: str) -> Job | None:
        """Take the next job, if there is one; one study does not hold up all others."""
        late = _now() - timedelta(seconds=job_grace_seconds())
        query = (
            sqlalchemy.select(JobRow)
            .where(JobRow.state.in_(("queued", "running")))
            .order_by(JobRow.id)
        )
        # What was read stays as it was: a commit must not bring in what others have changed since.
        with Session(self._engine, expire_on_commit=False) as session:
            rows = list(session.scalars(query))
            at_work = Counter(r.study for r in rows if not _is_free(r, late))
            free = [row for row in rows if _is_free(row, late)]
            for row in sorted(free, key=lambda row: (at_work[row.study], row.id)):
                if row.state == "running" and row.attempts >= _MOST_ATTEMPTS:
                    self._end(
                        session, row.id, row.worker, "failed",
                        f"its worker died {row.attempts} times: the server's log may say why",
                    )  # fmt: skip
                    continue
                # The number of attempts is what tells who was first.
                won = _changed(
                    session,
                    sqlalchemy.update(JobRow)
                    .where(
                        JobRow.id == row.id,
                        JobRow.state == row.state,
                        JobRow.attempts == row.attempts,
                    )
                    .values(
                        state="running", worker=worker, attempts=row.attempts + 1,
                        heartbeat_at=_now(), started_at=row.started_at or _now(),
                    ),
                )  # fmt: skip
                session.commit()
                if won:
                    session.refresh(row)
                    return _job(row)
        return None

    def beat(self, job: int, worker: str, seconds: float) -> bool:
        """Say that a job is being worked on; whether it still is this worker's."""
        values = {"heartbeat_at": _now(), "seconds": seconds}
        with Session(self._engine) as session:
            mine = _changed(session, _mine(job, worker).values(**values))
            session.commit()
            return mine

    def release(self, job: int, worker: str) -> None:
        """Put a job back that is not finished. It does not count as an attempt."""
        with Session(self._engine) as session:
            attempts = JobRow.attempts - 1
            _changed(
                session, _mine(job, worker).values(state="queued", worker=None, attempts=attempts)
            )
            session.commit()

    def end(self, job: int, worker: str, state: str, reason: str = "") -> None:
        """Finish a job, if it still is this worker's. With one that failed its study is over."""
        with Session(self._engine) as session:
            self._end(session, job, worker, state, reason)

    def _end(
        self, session: Session, job: int, worker: str | None, state: str, reason: str
    ) -> None:
        over = {"ended_at": _now(), "finished": True}
        ended = _changed(session, _mine(job, worker).values(state=state, reason=reason, **over))
        if ended and state == "failed":
            study = session.execute(
                sqlalchemy.select(JobRow.study).where(JobRow.id == job)
            ).scalar_one()
            _changed(
                session,
                sqlalchemy.update(JobRow)
                .where(JobRow.study == study, JobRow.finished.is_(False))
                .values(state="cancelled", reason="another image failed", **over),
            )
        session.commit()

    def cancel(self, study: str) -> None:
        """Let a study end: what waits at once, what runs after the trial that is running."""
        with Session(self._engine) as session:
            _changed(
                session,
                sqlalchemy.update(JobRow)
                .where(JobRow.study == study, JobRow.finished.is_(False))
                .values(
                    state="cancelled", reason="somebody has cancelled it", ended_at=_now(),
                    finished=True,
                ),
            )  # fmt: skip
            session.commit()

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


def _mine(job: int, worker: str | None) -> sqlalchemy.Update:
    return sqlalchemy.update(JobRow).where(
        JobRow.id == job, JobRow.worker == worker, JobRow.state == "running"
    )


def _changed(session: Session, update: sqlalchemy.Update) -> bool:
    found = session.execute(update.execution_options(synchronize_session=False))
    return bool(getattr(found, "rowcount", 0))


def _is_free(row: JobRow, late: datetime) -> bool:
    return row.state == "queued" or row.heartbeat_at is None or row.heartbeat_at < late


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
