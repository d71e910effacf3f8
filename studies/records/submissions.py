"""Submissions to grading servers and their results. Tokens are never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from typing import Any

import sqlalchemy

from studies.records.schema import VERSION_TABLE, records
from studies.records.tables import SubmissionRow
from studies.storage import connected, sqlite_path

__all__ = ["Submitted", "add_submission", "submissions"]


@dataclass(frozen=True)
class Submitted:
    """A submission with its result.

    Attributes:
        at: UTC.
        url: the server's, without credentials.
        parameters_sha256: :func:`studies.export.parameters_digest` of ``parameters``.
        parameters: by image, as :func:`studies.export.plain_parameters.plain_kwargs` writes them.
        study: prefix of the studies that the parameters come from; ``None`` where it is unknown.
        predicted_iou, predicted_time: measured by the studies' trials; ``None`` without them.
        avg_iou: in [0, 1].
        avg_time: seconds an image.
    """

    at: datetime
    url: str
    parameters_sha256: str
    parameters: Mapping[str, Any]
    study: str | None
    predicted_iou: float | None
    predicted_time: float | None
    avg_iou: float
    avg_time: float


def add_submission(storage: str, submitted: Submitted) -> None:
    """Record a submission and its result.

    Raises:
        StorageError: the database cannot be written.
    """
    values = {
        **asdict(submitted),
        "at": submitted.at.astimezone(timezone.utc).replace(tzinfo=None),
        "parameters": json.dumps(dict(submitted.parameters), sort_keys=True),
    }
    with records(storage) as engine, engine.begin() as connection:
        connection.execute(sqlalchemy.insert(SubmissionRow).values(values))


def submissions(storage: str, url: str | None = None) -> list[Submitted]:
    """Return all submissions, oldest first, or those to one server.

    It never creates a database or tables.

    Raises:
        StorageError: the database cannot be read.
    """
    if not _has_records(storage):
        return []
    columns = [getattr(SubmissionRow, field.name) for field in fields(Submitted)]
    query = sqlalchemy.select(*columns).order_by(SubmissionRow.id)
    if url is not None:
        query = query.where(SubmissionRow.url == url)
    with records(storage) as engine, engine.connect() as connection:
        found = [Submitted(*row) for row in connection.execute(query)]
    return [
        replace(
            each,
            at=each.at.replace(tzinfo=timezone.utc),
            parameters=json.loads(str(each.parameters)),
        )
        for each in found
    ]


def _has_records(storage: str) -> bool:
    path = sqlite_path(storage)
    if path is not None and not path.exists():
        return False
    with connected(storage) as connection:
        return sqlalchemy.inspect(connection).has_table(VERSION_TABLE)
