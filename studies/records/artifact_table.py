"""The table of artifacts (files) on a database server.

It is not in :mod:`studies.records.tables`, whose rows ``copying`` copies one by one: artifacts
belong to Optuna's studies, and are copied with them.
"""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, MetaData, String, Table

__all__ = ["ARTIFACTS"]

ARTIFACTS = Table(
    "lime_tuner_artifacts",
    MetaData(),
    Column("artifact_id", String(200), primary_key=True),
    # MariaDB's plain BLOB ends at 64 KB.
    Column("body", LargeBinary(2**24 - 1), nullable=False),
)
