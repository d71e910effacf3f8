"""Write and read verifications of pickles by stock lime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from studies.records.schema import records, utc_now
from studies.records.tables import VerificationRow

__all__ = ["VerifiedImage", "add_verification", "latest_verification", "verified_images"]


@dataclass(frozen=True)
class VerifiedImage:
    """The verification of one image.

    Attributes:
        reference: the rule of the reference mask.
        seeds: number of fresh seeds.
        found: ``iou``, ``iou_std``, ``time`` in seconds, ``label``.
        defaults: the same for lime's defaults; ``None`` where they were not run.
        others_share: share of the machine that other processes used meanwhile, in [0, 1]; ``None``
            where it is unknown.
    """

    reference: str
    seeds: int
    found: Mapping[str, Any]
    defaults: Mapping[str, Any] | None
    others_share: float | None = None


def add_verification(
    storage: str,
    *,
    pickle_sha256: str,
    catalog: str,
    classifier_sha256: str,
    reference: str,
    seeds: int,
    result: Mapping[str, Any],
    settings: Mapping[str, str],
) -> None:
    """Record a verification.

    Args:
        result: the document of ``verify --json``.
        settings: :func:`studies.export.settings_digest` of every image's arguments.

    Raises:
        StorageError: the database cannot be written.
    """
    insert = sqlalchemy.insert(VerificationRow).values(
        at=utc_now(),
        pickle_sha256=pickle_sha256,
        catalog=catalog,
        classifier_sha256=classifier_sha256,
        reference=reference[:500],
        seeds=seeds,
        avg_iou=float(result["avg_iou"]),
        avg_time=float(result["avg_time"]),
        result_json=json.dumps(result),
        settings=json.dumps(dict(settings), sort_keys=True),
    )
    with records(storage) as engine, engine.begin() as connection:
        connection.execute(insert)


def verified_images(
    storage: str, settings: Mapping[str, str], classifier_sha256: str
) -> dict[str, VerifiedImage]:
    """Return the newest verification of each image with exactly these settings.

    Args:
        settings: :func:`studies.export.settings_digest` of the arguments, by image.
        classifier_sha256: of the classifier of the verification.
    """
    found: dict[str, VerifiedImage] = {}
    with records(storage) as engine, Session(engine) as session:
        rows = session.scalars(
            sqlalchemy.select(VerificationRow)
            .where(VerificationRow.classifier_sha256 == classifier_sha256)
            .order_by(VerificationRow.id)
        )
        for row in rows:
            result, known = json.loads(row.result_json), json.loads(row.settings or "{}")
            baseline = result.get("defaults", {}).get("images", {})
            for key, wanted in settings.items():
                if known.get(key) == wanted and key in result.get("images", {}):
                    found[key] = VerifiedImage(
                        row.reference, row.seeds, result["images"][key], baseline.get(key),
                        result.get("others_share"),
                    )  # fmt: skip
    return found


def latest_verification(storage: str, pickle_sha256: str) -> VerificationRow | None:
    """Return the newest verification of a pickle, or ``None``."""
    query = (
        sqlalchemy.select(VerificationRow)
        .where(VerificationRow.pickle_sha256 == pickle_sha256)
        .order_by(VerificationRow.id.desc())
        .limit(1)
    )
    with records(storage) as engine, Session(engine) as session:
        return session.scalars(query).first()
