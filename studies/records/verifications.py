"""What stock lime gave for a pickle, recorded beside the studies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from studies.records.schema import records
from studies.records.tables import VerificationRow

__all__ = ["add_verification", "latest_verification"]


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
    """Record a verification.

    Raises:
        StorageError: the database cannot be written.
    """
    with records(storage) as engine, Session(engine) as session:
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


def latest_verification(storage: str, pickle_sha256: str) -> VerificationRow | None:
    """The newest verification of a pickle, if there is one."""
    with records(storage) as engine, Session(engine) as session:
        row = session.scalars(
            sqlalchemy.select(VerificationRow)
            .where(VerificationRow.pickle_sha256 == pickle_sha256)
            .order_by(VerificationRow.id.desc())
            .limit(1)
        ).first()
        if row is not None:
            session.expunge(row)
        return row
