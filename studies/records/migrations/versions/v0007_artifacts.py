"""Pictures of studies and trials, for storages on a server."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_table

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    create_table(
        "lime_tuner_artifacts",
        sa.Column("artifact_id", sa.String(200), primary_key=True),
        sa.Column("body", sa.LargeBinary(2**24 - 1), nullable=False),
    )
