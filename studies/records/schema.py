"""The version of our schema, and the migration of older databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from explainers.errors import StorageError
from studies.storage import describe, errors_told

__all__ = ["SCHEMA_VERSION", "VERSION_TABLE", "records", "same_named", "utc_now"]

SCHEMA_VERSION = "0008"
VERSION_TABLE = "lime_tuner_version"  # Optuna uses "alembic_version"
_UPGRADING = threading.Lock()  # Alembic keeps its state in globals


@contextmanager
def records(storage: str) -> Iterator[sqlalchemy.Engine]:
    """Open a database with our tables; missing tables are made, and older ones migrated.

    Raises:
        StorageError: in place of any error of the database, also inside the ``with``; or the tables
            are of a newer lime-tuner.
    """
    with errors_told(storage):
        engine = sqlalchemy.create_engine(storage)
        try:
            if _version(engine) != SCHEMA_VERSION:
                with _UPGRADING:
                    if _version(engine) != SCHEMA_VERSION:
                        _upgrade(engine, storage)
            yield engine
        finally:
            engine.dispose()


def utc_now() -> datetime:
    """Return the current time in UTC without a time zone, as the tables store it."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def same_named(source: Any, target: Any) -> dict[str, Any]:
    """Return the values of those attributes of a row or dataclass that a class also has, by name.

    Args:
        source: a row or an object of a dataclass.
        target: a dataclass, or a class of rows, of which only the columns count.
    """
    if is_dataclass(target):
        names = [field.name for field in fields(target)]
    else:
        names = [str(each.key) for each in sqlalchemy.inspect(target).column_attrs]
    return {name: getattr(source, name) for name in names if hasattr(source, name)}


def _version(engine: sqlalchemy.Engine) -> str | None:
    if not sqlalchemy.inspect(engine).has_table(VERSION_TABLE):
        return None
    with engine.connect() as connection:
        table = sqlalchemy.table(VERSION_TABLE, sqlalchemy.column("version_num"))
        found = connection.execute(sqlalchemy.select(table.c.version_num)).scalar()
    return None if found is None else str(found)


def _upgrade(engine: sqlalchemy.Engine, storage: str) -> None:
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # One transaction that excludes other processes; Python itself begins a transaction
            # only when rows are written.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = Config(attributes={"connection": connection})
        # A percent sign in a path would be read as a placeholder.
        folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
        config.set_main_option("script_location", folder)
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageError(
                f"storage {describe(storage)} was written by a newer lime-tuner "
                f"({str(error).splitlines()[0]}): update lime-tuner, or give another --storage"
            ) from error
