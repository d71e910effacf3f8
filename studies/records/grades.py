"""Grades that our grading server gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy

from studies.records.schema import records, utc_now
from studies.records.tables import GradeRow

__all__ = ["Grade", "add_grade", "newest_grades"]


@dataclass(frozen=True)
class Grade:
    """The grade of one submission.

    Attributes:
        at: UTC.
        avg_iou: in [0, 1].
        avg_time: seconds an image.
        submissions: number of the team's graded submissions, including this one.
    """

    team: str
    at: datetime
    avg_iou: float
    avg_time: float
    submissions: int = 1


def add_grade(
    storage: str,
    *,
    team: str,
    upload_sha256: str,
    parameters: Mapping[str, Any],
    exam: Mapping[str, Any],
    result: Mapping[str, Any],
) -> None:
    """Record a grade.

    Args:
        parameters: plain parameters, by image.
        exam: ``studies.web.evaluator.GradingTask.facts``.
        result: ``avg_iou``, ``avg_time`` and ``images``, as :func:`studies.export.summary`
            names them.

    Raises:
        StorageError: the database cannot be written.
    """
    insert = sqlalchemy.insert(GradeRow).values(
        at=utc_now(),
        team=team,
        upload_sha256=upload_sha256,
        parameters=json.dumps(parameters, sort_keys=True),
        exam=json.dumps(exam, sort_keys=True),
        avg_iou=float(result["avg_iou"]),
        avg_time=float(result["avg_time"]),
        result_json=json.dumps(result),
    )
    with records(storage) as engine, engine.begin() as connection:
        connection.execute(insert)


def newest_grades(storage: str) -> list[Grade]:
    """Return the newest grade of every team, the best first: by IoU, then by time."""
    newest = (
        sqlalchemy.select(
            sqlalchemy.func.max(GradeRow.id).label("id"),
            sqlalchemy.func.count().label("submissions"),
        )
        .group_by(GradeRow.team)
        .subquery()
    )
    query = (
        sqlalchemy.select(
            GradeRow.team, GradeRow.at, GradeRow.avg_iou, GradeRow.avg_time, newest.c.submissions
        )
        .join(newest, newest.c.id == GradeRow.id)
        .order_by(GradeRow.avg_iou.desc(), GradeRow.avg_time, GradeRow.id)
    )
    with records(storage) as engine, engine.connect() as connection:
        return [Grade(*row) for row in connection.execute(query)]
