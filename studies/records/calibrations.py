"""What was learned from a grading server's answers, under a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from explainers.errors import InvalidInput
from studies.records.schema import records
from studies.records.tables import CalibrationRow
from studies.storage import sqlite_path

__all__ = ["add_calibration", "calibration_names", "check_calibration_name", "latest_calibration"]

_LONGEST_NAME = 100


def check_calibration_name(name: str) -> None:
    """Refuse a name that cannot be stored.

    Raises:
        InvalidInput: it is empty, too long or no line of text.
    """
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise InvalidInput(
            f"calibration name {name[:40]!r}: give 1 to {_LONGEST_NAME} printable characters"
        )


def add_calibration(storage: str, name: str, document: Mapping[str, Any]) -> None:
    """Record a calibration; it is the one of its name from now on.

    Args:
        document: of ``tuner.server.calibration.Calibration``.

    Raises:
        InvalidInput: see :func:`check_calibration_name`.
        StorageError: the database cannot be written.
    """
    check_calibration_name(name)
    with records(storage) as engine, Session(engine) as session:
        session.add(
            CalibrationRow(
                at=datetime.now(timezone.utc).replace(tzinfo=None),
                name=name,
                document=json.dumps(dict(document), allow_nan=False),
            )
        )
        session.commit()


def latest_calibration(storage: str, name: str) -> dict[str, Any] | None:
    """The newest document of a name, if there is one; a database is never created for it."""
    if not _exists(storage):
        return None
    with records(storage) as engine, Session(engine) as session:
        text = session.scalars(
            sqlalchemy.select(CalibrationRow.document)
            .where(CalibrationRow.name == name)
            .order_by(CalibrationRow.id.desc())
            .limit(1)
        ).first()
    return None if text is None else dict(json.loads(text))


def calibration_names(storage: str) -> list[str]:
    """Names of all calibrations, in order."""
    if not _exists(storage):
        return []
    with records(storage) as engine, Session(engine) as session:
        names = session.scalars(sqlalchemy.select(CalibrationRow.name).distinct()).all()
    return sorted(names)


def _exists(storage: str) -> bool:
    path = sqlite_path(storage)
    return path is None or path.exists()
