"""Explanations of further classes, and the settings of a verification."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import add_column, create_index, create_table

revision = "0003"
down_revision = "0002"

_PICTURE = sa.LargeBinary(2**24 - 1)


def upgrade() -> None:
    name = "lime_tuner_other_classes"
    create_table(
        name,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("image_id", sa.Integer(), sa.ForeignKey("lime_tuner_images.id"), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(60), nullable=False),
        sa.Column("parameters", sa.Text()),
        sa.Column("seed", sa.Integer()),
        sa.Column("mask_png", _PICTURE, nullable=False),
        sa.Column("map_png", _PICTURE),
        sa.Column("segments_png", _PICTURE),
        sa.Column("weights", sa.Text()),
        sa.UniqueConstraint("image_id", "class_index", "method"),
    )
    create_index(f"ix_{name}_image_id", name, ["image_id"])
    add_column("lime_tuner_verifications", sa.Column("settings", sa.Text()))
