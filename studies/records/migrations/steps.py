"""Steps of a migration that do nothing where an interrupted one has already done them.

MySQL and MariaDB commit after every statement, as earlier versions of this package did on SQLite.
When a process is killed between two statements, the first stays although the version is unchanged.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["add_column", "create_index", "create_table"]


def create_table(name: str, *items: sa.schema.SchemaItem) -> None:
    """Create a table if it does not exist."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *items)


def create_index(name: str, table: str, columns: list[str]) -> None:
    """Create an index if it does not exist."""
    if name not in {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def add_column(table: str, column: sa.Column[object]) -> None:
    """Add a column if it does not exist."""
    if column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
