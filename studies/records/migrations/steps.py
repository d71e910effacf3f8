"""Steps of a migration that may be half done: what is there already is left as it is.

MySQL and MariaDB commit after every statement, and earlier versions of this package did so on
SQLite, too: when a process is killed between two of them, the first stays without its version.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["add_column", "create_index", "create_table"]


def create_table(name: str, *items: sa.schema.SchemaItem) -> None:
    """Make a table where it is not there."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *items)


def create_index(name: str, table: str, columns: list[str]) -> None:
    """Make an index where it is not there."""
    if name not in {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def add_column(table: str, column: sa.Column[object]) -> None:
    """Add a column where it is not there."""
    if column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
