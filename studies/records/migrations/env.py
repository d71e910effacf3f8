"""Alembic runs this module, with the connection that :mod:`studies.records.schema` passes."""

from __future__ import annotations

from alembic import context

from studies.records.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
