"""Our own tables in the storage's database: what was verified, and with what result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from explainers.errors import StorageError
from studies.storage import describe

__all__ = ["VerificationRow", "add_verification", "latest_verification"]


class _Base(DeclarativeBase):
    pass


class VerificationRow(_Base):
    """One run of ``verify``; times are UTC."""

    __tablename__ = "lime_tuner_verifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(sqlalchemy.DateTime())
    pickle_sha256: Mapped[str] = mapped_column(sqlalchemy.String(64), index=True)
    catalog: Mapped[str] = mapped_column(sqlalchemy.String(255))
    classifier_sha256: Mapped[str] = mapped_column(sqlalchemy.String(64))
    reference: Mapped[str] = mapped_column(sqlalchemy.String(500))
    seeds: Mapped[int]
    avg_iou: Mapped[float]
    avg_time: Mapped[float]
    result_json: Mapped[str] = mapped_column(sqlalchemy.Text())


def add_verification(
    storage: str,
    *,
    pickle_sha256: str,
    catalog: str,
    classifier_sha256: str,
    reference: str,
    seeds: int,
    result: Mapping[str, Any],
) -> None:
    """Record a verification; the table is made when it is not there.

    Raises:
        StorageError: the database cannot be written.
    """
    engine = sqlalchemy.create_engine(storage)
    try:
        _Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(
                VerificationRow(
                    at=datetime.now(timezone.utc).replace(tzinfo=None),
                    pickle_sha256=pickle_sha256,
                    catalog=catalog,
                    classifier_sha256=classifier_sha256,
                    reference=reference[:500],
                    seeds=seeds,
                    avg_iou=float(result["avg_iou"]),
                    avg_time=float(result["avg_time"]),
                    result_json=json.dumps(result),
                )
            )
            session.commit()
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageError(
            f"the verification cannot be recorded in {describe(storage)} ({reason})"
        ) from error
    finally:
        engine.dispose()


def latest_verification(storage: str, pickle_sha256: str) -> VerificationRow | None:
    """The newest verification of a pickle, if there is one."""
    engine = sqlalchemy.create_engine(storage)
    try:
        if VerificationRow.__tablename__ not in sqlalchemy.inspect(engine).get_table_names():
            return None
        with Session(engine) as session:
            row = session.scalars(
                sqlalchemy.select(VerificationRow)
                .where(VerificationRow.pickle_sha256 == pickle_sha256)
                .order_by(VerificationRow.id.desc())
                .limit(1)
            ).first()
            if row is not None:
                session.expunge(row)
            return row
    finally:
        engine.dispose()
