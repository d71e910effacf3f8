"""Comparisons: runs, images, reference masks, explanations, and the IoU of their masks."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import create_index, create_table

revision = "0002"
down_revision = "0001"

_PICTURE = sa.LargeBinary(2**24 - 1)
_MEASURES = (
    "deletion", "insertion", "iou", "pointing", "energy", "background", "centre_distance",
    "seconds", "r2", "mask_stability", "rank_stability",
)  # fmt: skip


def upgrade() -> None:
    create_table(
        "lime_tuner_runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("command", sa.String(40), nullable=False),
        sa.Column("catalog", sa.String(255), nullable=False),
        sa.Column("study", sa.String(255), nullable=False),
        sa.Column("classifier", sa.String(255), nullable=False),
        sa.Column("classifier_sha256", sa.String(64), nullable=False),
        sa.Column("device", sa.String(40), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("package_versions", sa.Text(), nullable=False),
    )
    create_index("ix_lime_tuner_runs_study", "lime_tuner_runs", ["study"])
    create_table(
        "lime_tuner_images",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("lime_tuner_runs.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("type", sa.String(40)),
        sa.Column("catalog_class", sa.String(255)),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("picture_png", _PICTURE, nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("class_name", sa.String(255), nullable=False),
        sa.Column("top_classes", sa.Text(), nullable=False),
        sa.Column("edge_density", sa.Float(53), nullable=False),
        sa.Column("entropy", sa.Float(53), nullable=False),
        sa.Column("superpixels", sa.Integer(), nullable=False),
        sa.UniqueConstraint("run_id", "key"),
    )
    create_index("ix_lime_tuner_images_run_id", "lime_tuner_images", ["run_id"])
    create_table(
        "lime_tuner_reference_masks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "image_id",
            sa.Integer(),
            sa.ForeignKey("lime_tuner_images.id"),
            nullable=False,
            unique=True,
        ),
        sa.Column("rule", sa.String(500), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("mask_png", _PICTURE, nullable=False),
        sa.Column("reliability", sa.Float(53)),
        sa.Column("doubt", sa.Text(), nullable=False),
    )
    create_table(
        "lime_tuner_explanations",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("image_id", sa.Integer(), sa.ForeignKey("lime_tuner_images.id"), nullable=False),
        sa.Column("method", sa.String(60), nullable=False),
        sa.Column("parameters", sa.Text()),
        sa.Column("seed", sa.Integer()),
        sa.Column("mask_png", _PICTURE, nullable=False),
        sa.Column("map_png", _PICTURE),
        sa.Column("segments_png", _PICTURE),
        sa.Column("weights", sa.Text()),
        *(sa.Column(name, sa.Float(53)) for name in _MEASURES),
        sa.UniqueConstraint("image_id", "method"),
    )
    create_index("ix_lime_tuner_explanations_image_id", "lime_tuner_explanations", ["image_id"])
    create_table(
        "lime_tuner_comparisons",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("image_id", sa.Integer(), sa.ForeignKey("lime_tuner_images.id"), nullable=False),
        sa.Column("first", sa.String(60), nullable=False),
        sa.Column("second", sa.String(60), nullable=False),
        sa.Column("iou", sa.Float(53), nullable=False),
        sa.UniqueConstraint("image_id", "first", "second"),
    )
    create_index("ix_lime_tuner_comparisons_image_id", "lime_tuner_comparisons", ["image_id"])
