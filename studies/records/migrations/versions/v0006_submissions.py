"""Submissions to grading servers, our own server's grades, and calibrations of servers."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_index, create_table

revision = "0006"
down_revision = "0005"

_REAL = sa.Float(53)


def upgrade() -> None:
    create_table(
        "lime_tuner_submissions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("parameters_sha256", sa.String(64), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("study", sa.String(255)),
        sa.Column("predicted_iou", _REAL),
        sa.Column("predicted_time", _REAL),
        sa.Column("avg_iou", _REAL, nullable=False),
        sa.Column("avg_time", _REAL, nullable=False),
    )
    create_index("ix_lime_tuner_submissions_url", "lime_tuner_submissions", ["url"])
    create_table(
        "lime_tuner_grades",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("team", sa.String(100), nullable=False),
        sa.Column("upload_sha256", sa.String(64), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("exam", sa.Text(), nullable=False),
        sa.Column("avg_iou", _REAL, nullable=False),
        sa.Column("avg_time", _REAL, nullable=False),
        sa.Column("result_json", sa.Text(), nullable=False),
    )
    create_index("ix_lime_tuner_grades_team", "lime_tuner_grades", ["team"])
    create_table(
        "lime_tuner_calibrations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    create_index("ix_lime_tuner_calibrations_name", "lime_tuner_calibrations", ["name"])
