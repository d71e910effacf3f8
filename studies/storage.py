"""The database that studies live in, opened by URL, and only when it is ours to use."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import Connection, MetaData
from sqlalchemy.engine import URL, make_url

from explainers.errors import InvalidInput, StorageAway, StorageError
from explainers.foreign_text import one_line
from studies.full_disk import is_full, no_space
from studies.heartbeats import grace_seconds, heartbeat_seconds
from studies.passwords import HIDDEN, is_secret_name, without_passwords

if TYPE_CHECKING:
    from studies.patient_storage import PatientStorage

__all__ = [
    "DEFAULT_STORAGE", "absolute_url", "artifact_folder", "check_storage", "database_reason",
    "describe", "errors_told", "holds_studies", "is_away", "open_storage", "opened_tables",
    "parse_url", "sqlite_path", "trouble_of",
]  # fmt: skip

DEFAULT_STORAGE = "sqlite:///lime-tuner.db"
_SQLITE_BUSY_SECONDS = 60
_OPTUNA_TABLES = {"studies", "trials", "version_info"}
_OUR_TABLES = "lime_tuner_"
_CHECK_THE_URL = "check the URL given with --storage or LIME_TUNER_STORAGE"
_DAMAGED = "the file is damaged: put back a copy of it, or save what is left with sqlite3 .recover"
# By what SQLite says, in part.
_ADVICE = {
    "malformed": _DAMAGED,
    "could not decode": _DAMAGED,
    "not a database": "name a file that lime-tuner has made, unencrypted, with --storage",
    "locked": "another program has the file open for writing; end it, or wait for it",
    "readonly": "give a file, in a folder, that can be written",
    "read-only": "give a file, in a folder, that can be written",
    "can't load plugin": "begin the URL with sqlite:///, postgresql+psycopg:// or mysql+pymysql://",
}
# What Python's sqlite3 takes from a URL, but for other ways to name the file.
_SQLITE_SETTINGS = {
    "cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout",
}  # fmt: skip
_BROKEN_BEFORE = "8s2b"  # SQLAlchemy's code
# By the database's name: our extra that installs a driver, and how URLs for it begin.
_DRIVERS = {
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mysql+pymysql"),
}


def parse_url(url: str) -> URL:
    """The parsed URL.

    Raises:
        InvalidInput: no database URL, SQLite in memory, or a password that is not escaped; says
            nothing of a password.
    """
    try:
        parsed = make_url(url)
        parsed.get_backend_name()
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise InvalidInput(
            f"storage '{_hidden(url)}' is not a database URL: "
            "give sqlite:///FILE.db or postgresql+psycopg://USER@HOST/NAME"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise InvalidInput(f"storage '{_hidden(url)}' names no file: give sqlite:///FILE.db")
        unknown = sorted(parsed.query.keys() - _SQLITE_SETTINGS)
        if unknown:  # the driver would leave them out
            raise InvalidInput(
                f"storage '{_hidden(url)}' has the setting {one_line(unknown[0])}, which an SQLite "
                "file does not take: give sqlite:///FILE.db"
            )
    elif "@" in f"{parsed.host or ''}{parsed.database or ''}":
        # SQLAlchemy ends the password at the first one, and takes the rest for the host.
        raise InvalidInput(
            f"storage '{_hidden(url)}' has more than one @: write @ in a password as %40"
        )
    return parsed


def _hidden(url: str) -> str:
    """A URL that cannot be trusted to be one, without what may be a password."""
    scheme, found, rest = url.partition("://")
    if "@" in rest:
        url = f"{scheme}{found}{HIDDEN}@{rest.rpartition('@')[2]}"
    elif "@" in scheme:
        url = f"{HIDDEN}@{url.rpartition('@')[2]}"
    return one_line(without_passwords(url))


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL; ``None`` for a server."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(str(parsed.database))


def absolute_url(url: str) -> str:
    """The URL with the whole path of an SQLite file, for processes that work in other folders."""
    path = sqlite_path(url)
    if path is None:
        return url
    return parse_url(url).set(database=str(path.resolve())).render_as_string(hide_password=False)


def describe(url: str) -> str:
    """The URL without its password, also one in its query."""
    parsed = parse_url(url)
    secret = [name for name in parsed.query if is_secret_name(name)]
    shown = parsed.difference_update_query(secret).render_as_string(hide_password=True)
    hidden = "&".join(f"{name}={HIDDEN}" for name in secret)
    return without_passwords(f"{shown}{'&' if '?' in shown else '?'}{hidden}" if hidden else shown)


def artifact_folder(url: str) -> Path:
    """Where pictures and files that belong to an SQLite storage are kept: beside its file."""
    path = sqlite_path(url)
    assert path is not None
    return path.with_name(f"{path.stem}-artifacts")


def database_reason(error: BaseException) -> str:
    """What the database itself says, in one line; SQLAlchemy wraps it in several."""
    database = _database_error(error)
    cause = getattr(database, "orig", None) or database
    return without_passwords((str(cause).strip().splitlines() or [type(cause).__name__])[0])


def _database_error(error: BaseException) -> BaseException:
    """What SQLAlchemy has raised, which Optuna wraps; the error itself where it was not that."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, sqlalchemy.exc.SQLAlchemyError):
            return found
        found = found.__cause__
    return error


def is_away(error: BaseException) -> bool:
    """Whether a server that may come back is why something failed.

    A file is there or is not: SQLite waits by itself for others to let go of it.
    """
    error = _database_error(error)
    if isinstance(error, sqlalchemy.exc.PendingRollbackError):
        # Something else was asked after a connection had broken; a failed flush has another code.
        return error.code == _BROKEN_BEFORE
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return isinstance(error, sqlalchemy.exc.TimeoutError)
    if type(error.orig).__module__.startswith("sqlite3"):
        return False
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    return error.connection_invalidated or isinstance(error, lost)


@contextmanager
def errors_told(url: str) -> Iterator[None]:
    """Turn the database's errors into one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StorageError(_missing_driver(url, error)) from error
    except Exception as error:
        trouble = trouble_of(error, url)
        if trouble is None:
            raise
        raise trouble from error


@contextmanager
def opened_tables(url: str, names: Sequence[str]) -> Iterator[tuple[Connection, MetaData]]:
    """A connection for reading, and some of the database's tables; errors in one line.

    Raises:
        StorageError: the database cannot be read.
    """
    with errors_told(url):
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                meta = MetaData()
                meta.reflect(connection, only=list(names))
                yield connection, meta
        finally:
            engine.dispose()


def trouble_of(error: BaseException, url: str) -> StorageError | None:
    """The one line for what a database, SQLAlchemy or Optuna on top of it has raised.

    Returns:
        ``None`` where an error is none of theirs.
    """
    database = _database_error(error)
    if not isinstance(database, sqlalchemy.exc.SQLAlchemyError):
        return None
    if is_full(error, sqlite_path(url)):
        return no_space(describe(url))
    kind = StorageAway if is_away(database) else StorageError
    reason = database_reason(database)
    advice = next(
        (text for words, text in _ADVICE.items() if words in reason.lower()), _CHECK_THE_URL
    )
    return kind(f"storage {describe(url)} cannot be used ({one_line(reason, 160)}): {advice}")


def _missing_driver(url: str, error: ModuleNotFoundError) -> str:
    found = _DRIVERS.get(parse_url(url).get_backend_name())
    if found is None:
        return f"storage {describe(url)} needs the Python package {error.name}: install it"
    extra, scheme = found
    return (
        f"storage {describe(url)} needs the Python package {error.name}, which is not installed: "
        f"pip install 'lime-tuner[{extra}]', and begin the URL with {scheme}://"
    )


def check_storage(url: str, *, write: bool) -> None:
    """Look before anything is created: does it exist, is it ours, can it be written?

    Raises:
        StorageError: the file or its folder is missing or read-only, or the database belongs to
            another program; SQLite is to be written on a network file system, or while another
            host writes it.
    """
    from studies.one_host import check_one_host

    path = sqlite_path(url)
    if path is not None:
        _check_file(path, write=write)
        if not path.exists():
            if write:
                check_one_host(path, None)
            return
    with errors_told(url):
        engine = sqlalchemy.create_engine(url)
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
            if path is not None and write:
                check_one_host(path, engine if tables >= _OPTUNA_TABLES else None)
        finally:
            engine.dispose()
    # What a grading server and submissions leave may be there before the first study is.
    others = {name for name in tables if not name.startswith(_OUR_TABLES)}
    if others and not others >= _OPTUNA_TABLES:
        raise StorageError(
            f"storage {describe(url)} belongs to another program (it has the table "
            f"'{sorted(others - _OPTUNA_TABLES or others)[0]}' and no studies): "
            "give a new file or database"
        )
    if not others and not write:
        raise StorageError(f"storage {describe(url)} holds no studies: run lime-tuner tune first")


def holds_studies(url: str) -> bool:
    """Whether there is anything to read: the database exists and has Optuna's tables.

    Raises:
        StorageError: it cannot be read.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return False
    with errors_told(url):
        engine = sqlalchemy.create_engine(url)
        try:
            return set(sqlalchemy.inspect(engine).get_table_names()) >= _OPTUNA_TABLES
        finally:
            engine.dispose()


def _check_file(path: Path, *, write: bool) -> None:
    if path.is_dir():
        raise StorageError(f"storage {path} is a folder: give a file, e.g. {path / 'tuning.db'}")
    if not write and not path.exists():
        raise StorageError(
            f"storage {path} does not exist: run lime-tuner tune first, or give another --storage"
        )
    folder = path.parent if str(path.parent) else Path()
    if not folder.is_dir():
        raise StorageError(f"the folder of storage {path} does not exist: make it, or give another")
    if not write:
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise StorageError(f"storage {path} is read-only: give a file that can be written")
    try:
        # SQLite keeps its journal beside the file, so the folder must be writable too.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full(error):
            raise no_space(f"storage {path}") from error
        raise StorageError(
            f"the folder of storage {path} cannot be written ({error.strerror}): "
            "give a file in another folder with --storage"
        ) from error


def open_storage(url: str, *, write: bool = True) -> PatientStorage:
    """Open a storage; SQLite is put into WAL mode so that readers do not block the writer.

    Trials send heartbeats, so that those of a killed process are found and failed.

    Raises:
        StorageError, InvalidInput: see :func:`check_storage`.
    """
    check_storage(url, write=write)
    import optuna

    from studies.patient_storage import PatientStorage, again_elsewhere

    is_sqlite = sqlite_path(url) is not None
    with errors_told(url), warnings.catch_warnings():
        # Heartbeats are marked experimental; the version that we rely on is pinned.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            storage = PatientStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": _SQLITE_BUSY_SECONDS}}
                if is_sqlite
                else {"pool_pre_ping": True},
                heartbeat_interval=heartbeat_seconds(),
                grace_period=grace_seconds(),
                heartbeat_stale_trial_callback=again_elsewhere,
            )
        except RuntimeError as error:  # a schema of another Optuna version
            raise StorageError(f"storage {describe(url)}: {str(error).splitlines()[0]}") from error
        if is_sqlite and write:
            with storage.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    return storage
