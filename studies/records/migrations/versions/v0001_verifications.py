"""Verifications. Databases from before there were schema versions already have this table."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_index, create_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    name = "lime_tuner_verifications"
    create_table(
        name,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("pickle_sha256", sa.String(64), nullable=False),
        sa.Column("catalog", sa.String(255), nullable=False),
        sa.Column("classifier_sha256", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(500), nullable=False),
        sa.Column("seeds", sa.Integer(), nullable=False),
        sa.Column("avg_iou", sa.Float(53), nullable=False),
        sa.Column("avg_time", sa.Float(53), nullable=False),
        sa.Column("result_json", sa.Text(), nullable=False),
    )
    create_index("ix_lime_tuner_verifications_pickle_sha256", name, ["pickle_sha256"])
