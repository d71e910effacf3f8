"""Runs that were interrupted, and can go on."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import add_column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the column; runs from before were recorded when they were finished."""
    add_column(
        "lime_tuner_runs",
        sa.Column("finished", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
