"""The two databases of a copy: one is read as it was at one moment, the other is made ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine

from explainers.errors import InvalidInput, StorageError
from studies.moving.optuna_studies import StudyTables, study_keys, study_tables
from studies.records import SCHEMA_VERSION, records
from studies.records.schema import VERSION_TABLE
from studies.storage import (
    check_storage,
    database_reason,
    describe,
    errors_told,
    open_storage,
    parse_url,
    sqlite_path,
)

__all__ = [
    "Side", "check_sides", "keeps_whole_seconds", "ready_target", "source_side", "target_side",
    "told_in_one_line",
]  # fmt: skip

_OURS = "lime_tuner_"
_WHOLE_SECONDS = ("mysql", "mariadb")
_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, eq=False)
class Side:
    """A database that is read, as it was when that began.

    Attributes:
        tables: ``None`` where there are no studies.
        records: whether it has our tables, of the newest version.
    """

    url: str
    connection: Connection
    tables: StudyTables | None
    records: bool

    def studies(self, prefix: str | None = None) -> dict[str, int]:
        """Their numbers by name, oldest first; see :func:`study_keys`."""
        if self.tables is None:
            return {}
        return study_keys(self.connection, self.tables, prefix)


def check_sides(source: str, target: str) -> None:
    """Look before anything is opened.

    Raises:
        InvalidInput: both are the same storage, as far as URLs tell.
        StorageError: one of them cannot be used, or is not ours.
    """
    if _place(source) == _place(target):
        raise InvalidInput(
            f"--from and --to are the same storage ({describe(source)}): give another --to"
        )
    if not _only_records(source):
        check_storage(source, write=False)
    check_storage(target, write=True)


def _place(url: str) -> tuple[Any, ...]:
    path = sqlite_path(url)
    if path is not None:
        return (path.resolve(),)
    parsed = parse_url(url)
    backend, host = parsed.get_backend_name(), parsed.host or "localhost"
    host = "localhost" if host in _LOOPBACK else host
    elsewhere = parsed.query.get("host"), parsed.query.get("unix_socket")
    return backend, host, parsed.port or _PORTS.get(backend), parsed.database, *elsewhere


def _only_records(url: str) -> bool:
    """What a grading server leaves: our tables, and no study."""
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        return False
    with errors_told(url), _engine(url) as engine:
        names = sqlalchemy.inspect(engine).get_table_names()
    return bool(names) and all(name.startswith(_OURS) for name in names)


def keeps_whole_seconds(url: str) -> bool:
    """Whether the database keeps no fractions of seconds."""
    return parse_url(url).get_backend_name() in _WHOLE_SECONDS


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def source_side(url: str) -> Iterator[Side]:
    """Open the source: running trials read as failed; records of an older version are migrated, as
    by every command that opens them."""
    with _engine(url) as engine:
        names = set(sqlalchemy.inspect(engine).get_table_names())
        if any(name.startswith(_OURS) for name in names):
            with records(url):
                names.add(VERSION_TABLE)
        with _side(engine, url, names, settle=True) as side:
            yield side


@contextmanager
def target_side(url: str) -> Iterator[Side | None]:
    """Open the target for reading; ``None`` where there is none yet."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        yield None
        return
    with _engine(url) as engine:
        names = set(sqlalchemy.inspect(engine).get_table_names())
        with _side(engine, url, names, settle=False) as side:
            yield side


@contextmanager
def _side(engine: Engine, url: str, names: set[str], *, settle: bool) -> Iterator[Side]:
    with engine.connect() as connection:
        # What others write meanwhile is not seen: every count and digest is of one moment.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        tables = study_tables(connection, url, settle=settle) if "studies" in names else None
        newest = VERSION_TABLE in names and _version(connection) == SCHEMA_VERSION
        yield Side(url, connection, tables, newest)


def _version(connection: Connection) -> str | None:
    table = sqlalchemy.table(VERSION_TABLE, sqlalchemy.column("version_num"))
    return connection.execute(sqlalchemy.select(table.c.version_num)).scalar()


@contextmanager
def ready_target(url: str) -> Iterator[Engine]:
    """The target with all its tables, of the newest version, to be written."""
    storage = open_storage(url)
    try:
        with records(url):
            pass
        yield storage.engine
    finally:
        storage.close()


@contextmanager
def told_in_one_line(url: str, what: str) -> Iterator[None]:
    """Turn a database's errors into ours.

    Raises:
        StorageError: in place of any error of the database.
    """
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        raise StorageError(f"storage {describe(url)} {what} ({database_reason(error)})") from error
