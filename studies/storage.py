"""The database that studies live in, opened by URL, and only when it is ours to use."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from explainers.errors import InvalidInput, StorageAway, StorageError
from studies.full_disk import is_full, no_space

if TYPE_CHECKING:
    from studies.patient_storage import PatientStorage

__all__ = [
    "DEFAULT_STORAGE", "absolute_url", "artifact_folder", "check_storage", "database_reason",
    "describe", "errors_told", "holds_studies", "is_away", "open_storage", "parse_url",
    "sqlite_path",
]  # fmt: skip

DEFAULT_STORAGE = "sqlite:///lime-tuner.db"
_SQLITE_BUSY_SECONDS = 60
HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 20
_OPTUNA_TABLES = {"studies", "trials", "version_info"}
_OUR_TABLES = "lime_tuner_"
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
        InvalidInput: no database URL, or SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise InvalidInput(
            f"storage '{url}' is not a database URL: "
            "give sqlite:///FILE.db or postgresql+psycopg://USER@HOST/NAME"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidInput(f"storage '{url}' names no file: give sqlite:///FILE.db")
    return parsed


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
    """The URL without its password."""
    return parse_url(url).render_as_string(hide_password=True)


def artifact_folder(url: str) -> Path:
    """Where pictures and files that belong to an SQLite storage are kept: beside its file."""
    path = sqlite_path(url)
    assert path is not None
    return path.with_name(f"{path.stem}-artifacts")


def database_reason(error: BaseException) -> str:
    """What the database itself says, in one line; SQLAlchemy wraps it in several."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def is_away(error: BaseException) -> bool:
    """Whether a server that may come back is why something failed.

    A file is there or is not: SQLite waits by itself for others to let go of it.
    """
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
    except sqlalchemy.exc.SQLAlchemyError as error:
        if is_full(error, sqlite_path(url)):
            raise no_space(describe(url)) from error
        kind = StorageAway if is_away(error) else StorageError
        raise kind(
            f"storage {describe(url)} cannot be used ({database_reason(error)}): "
            "check the URL given with --storage or LIME_TUNER_STORAGE"
        ) from error


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
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=again_elsewhere,
            )
        except RuntimeError as error:  # a schema of another Optuna version
            raise StorageError(f"storage {describe(url)}: {str(error).splitlines()[0]}") from error
        if is_sqlite and write:
            with storage.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    return storage
