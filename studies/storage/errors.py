"""Turn errors of databases, SQLAlchemy and Optuna into one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy

from explainers.errors import StorageAway, StorageError
from explainers.messages import one_line
from studies.full_disk import is_full, no_space
from studies.passwords import without_passwords
from studies.storage.urls import describe, parse_url, sqlite_path

__all__ = ["connected", "database_reason", "errors_told", "is_away", "trouble_of"]

_DAMAGED = "the file is damaged: put back a copy of it, or save what is left with sqlite3 .recover"
# Remedies, by a part of the database's message.
_ADVICE = {
    "malformed": _DAMAGED,
    "could not decode": _DAMAGED,
    "not a database": "name a file that lime-tuner has made, unencrypted, with --storage",
    "locked": "another program has the file open for writing; end it, or wait for it",
    "readonly": "give a file, in a folder, that can be written",
    "read-only": "give a file, in a folder, that can be written",
    "can't load plugin": "begin the URL with sqlite:///, postgresql+psycopg:// or mysql+pymysql://",
}
_CHECK_THE_URL = "check the URL given with --storage or LIME_TUNER_STORAGE"
_BROKEN_BEFORE = "8s2b"  # SQLAlchemy's code for a connection that broke in a transaction
# By database: our extra that installs a driver, and the scheme of URLs for it.
_DRIVERS = {
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mysql+pymysql"),
}


def database_reason(error: BaseException) -> str:
    """Return the first line of the database's own message, without passwords."""
    database = _database_error(error)
    cause = getattr(database, "orig", None) or database
    return without_passwords((str(cause).strip().splitlines() or [type(cause).__name__])[0])


def _database_error(error: BaseException) -> BaseException:
    """Return the SQLAlchemy error that caused an error, or the error itself if none did."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, sqlalchemy.exc.SQLAlchemyError):
            return found
        found = found.__cause__
    return error


def is_away(error: BaseException) -> bool:
    """Whether an error means that a database server is unreachable and may come back.

    It is ``False`` for SQLite, which itself waits for locks.
    """
    error = _database_error(error)
    if isinstance(error, sqlalchemy.exc.PendingRollbackError):
        # Raised by calls after a connection broke; after a failed flush the code is another one.
        return error.code == _BROKEN_BEFORE
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return isinstance(error, sqlalchemy.exc.TimeoutError)
    if type(error.orig).__module__.startswith("sqlite3"):
        return False
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    return error.connection_invalidated or isinstance(error, lost)


@contextmanager
def errors_told(url: str) -> Iterator[None]:
    """Replace the database's errors by one line.

    Raises:
        StorageError: in place of any error of the database, or of a missing driver.
    """
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
def connected(url: str) -> Iterator[sqlalchemy.Connection]:
    """Connect for reading.

    Raises:
        StorageError: the database cannot be read.
    """
    with errors_told(url):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            yield connection


def trouble_of(error: BaseException, url: str) -> StorageError | None:
    """Return an error with one line in place of one that the database caused.

    Returns:
        ``None`` if no error of SQLAlchemy caused it.
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
