"""Dissected networks, their layers and units, and the evidence of units inside a mask."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_index, create_table

revision = "0005"
down_revision = "0004"

_REAL = sa.Float(53)


def upgrade() -> None:
    create_table(
        "lime_tuner_dissections",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("classifier_sha256", sa.String(64)),
        sa.Column("probe", sa.String(255), nullable=False),
        sa.Column("probe_sha256", sa.String(64)),
        sa.Column("images", sa.Integer()),
        sa.Column("concept_list", sa.String(255), nullable=False),
        sa.Column("concepts", sa.Integer()),
        sa.Column("similarity", sa.String(60), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("package_versions", sa.Text(), nullable=False),
    )
    create_index("ix_lime_tuner_dissections_model", "lime_tuner_dissections", ["model"])
    _table(
        "lime_tuner_dissected_layers",
        ("dissection_id", "lime_tuner_dissections"),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("layer", sa.String(200), nullable=False),
        sa.Column("level", _REAL, nullable=False),
        sa.Column("by_size", sa.Text()),
        sa.Column("truth", sa.Text()),
        sa.UniqueConstraint("dissection_id", "layer"),
    )
    _table(
        "lime_tuner_units",
        ("layer_id", "lime_tuner_dissected_layers"),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("concept", sa.String(255)),
        *(sa.Column(name, _REAL) for name in ("similarity", "gap", "p", "q", "stability")),
        sa.Column("survives", sa.Boolean()),
        sa.Column("concepts", sa.Text(), nullable=False),
        sa.Column("sheet_jpeg", sa.LargeBinary(2**24 - 1)),
        sa.UniqueConstraint("layer_id", "unit"),
    )
    create_index("ix_lime_tuner_units_concept", "lime_tuner_units", ["concept"])
    image = sa.ForeignKey("lime_tuner_images.id")
    _table(
        "lime_tuner_evidence",
        ("layer_id", "lime_tuner_dissected_layers"),
        sa.Column("image_id", sa.Integer(), image, nullable=False),
        sa.Column("inside_share", _REAL, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("sentence", "concepts", "units")),
        sa.UniqueConstraint("layer_id", "image_id"),
    )
    create_index("ix_lime_tuner_evidence_image_id", "lime_tuner_evidence", ["image_id"])


def _table(name: str, owner: tuple[str, str], *columns: sa.schema.SchemaItem) -> None:
    """Create a table with an id and the id of the row that each of its rows belongs to."""
    column, table = owner
    create_table(
        name,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(column, sa.Integer(), sa.ForeignKey(f"{table}.id"), nullable=False),
        *columns,
    )
    create_index(f"ix_{name}_{column}", name, [column])
