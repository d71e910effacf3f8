"""Jobs of the service."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_index, create_table

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    create_table(
        "lime_tuner_jobs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("study", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("image_key", sa.String(200), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("worker", sa.String(100)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime()),
        sa.Column("heartbeat_at", sa.DateTime()),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("study", "position"),
    )
    create_index("ix_lime_tuner_jobs_state", "lime_tuner_jobs", ["state"])
