"""Whether a run is finished, or was interrupted and can be continued."""

from __future__ import annotations

import sqlalchemy as sa

from studies.records.migrations.steps import add_column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Earlier versions recorded runs only when they were finished.
    add_column(
        "lime_tuner_runs",
        sa.Column("finished", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
