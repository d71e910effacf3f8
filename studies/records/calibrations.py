"""Named calibrations: facts about a grading server that were inferred from its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy

from explainers.errors import InvalidInput
from studies.records.schema import records, utc_now
from studies.records.tables import CalibrationRow
from studies.storage import sqlite_path

__all__ = ["add_calibration", "calibration_names", "check_calibration_name", "latest_calibration"]

_LONGEST_NAME = 100


def check_calibration_name(name: str) -> None:
    """Refuse a name that cannot be stored.

    Raises:
        InvalidInput: it is empty, too long or not printable.
    """
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise InvalidInput(
            f"calibration name {name[:40]!r}: give 1 to {_LONGEST_NAME} printable characters"
        )


def add_calibration(storage: str, name: str, document: Mapping[str, Any]) -> None:
    """Record a calibration, which replaces earlier ones of that name.

    Args:
        document: of ``tuner.server.calibration.Calibration``.

    Raises:
        InvalidInput: see :func:`check_calibration_name`.
        StorageError: the database cannot be written.
    """
    check_calibration_name(name)
    values = {
        "at": utc_now(),
        "name": name,
        "document": json.dumps(dict(document), allow_nan=False),
    }
    with records(storage) as engine, engine.begin() as connection:
        connection.execute(sqlalchemy.insert(CalibrationRow).values(values))


def latest_calibration(storage: str, name: str) -> dict[str, Any] | None:
    """Return the newest document of a name, or ``None``; it never creates a database."""
    query = sqlalchemy.select(CalibrationRow.document).where(CalibrationRow.name == name)
    found = _read(storage, query.order_by(CalibrationRow.id.desc()).limit(1))
    return dict(json.loads(found[0])) if found else None


def calibration_names(storage: str) -> list[str]:
    """List the names of all calibrations, sorted; it never creates a database."""
    return sorted(_read(storage, sqlalchemy.select(CalibrationRow.name).distinct()))


def _read(storage: str, query: sqlalchemy.Select[Any]) -> list[str]:
    path = sqlite_path(storage)
    if path is not None and not path.exists():
        return []
    with records(storage) as engine, engine.connect() as connection:
        return list(connection.execute(query).scalars())
