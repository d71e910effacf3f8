"""URLs of databases: parsing them, showing them without passwords, and the files they name."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from explainers.errors import InvalidInput
from explainers.messages import one_line
from studies.passwords import HIDDEN, is_secret_name, without_passwords

__all__ = [
    "DEFAULT_STORAGE", "absolute_url", "artifact_folder", "describe", "parse_url", "sqlite_path",
]  # fmt: skip

DEFAULT_STORAGE = "sqlite:///lime-tuner.db"
# Settings that Python's sqlite3 takes from a URL, without those that name the file.
_SQLITE_SETTINGS = {
    "cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout",
}  # fmt: skip


def parse_url(url: str) -> URL:
    """Parse and check a database URL.

    Raises:
        InvalidInput: not a database URL, SQLite in memory, an unknown setting of SQLite, or an
            unescaped password. The message shows no password.
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
        # SQLAlchemy ends the password at the first @ and takes the rest for the host.
        raise InvalidInput(
            f"storage '{_hidden(url)}' has more than one @: write @ in a password as %40"
        )
    return parsed


def _hidden(url: str) -> str:
    """Return a possibly malformed URL without anything that may be a password."""
    scheme, found, rest = url.partition("://")
    if "@" in rest:
        url = f"{scheme}{found}{HIDDEN}@{rest.rpartition('@')[2]}"
    elif "@" in scheme:
        url = f"{HIDDEN}@{url.rpartition('@')[2]}"
    return one_line(without_passwords(url))


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite URL; ``None`` for a server."""
    parsed = parse_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def absolute_url(url: str) -> str:
    """Return the URL with an absolute path of an SQLite file, for processes in other folders."""
    path = sqlite_path(url)
    if path is None:
        return url
    return parse_url(url).set(database=str(path.resolve())).render_as_string(hide_password=False)


def describe(url: str) -> str:
    """Return the URL with ``***`` for passwords, also those in its query."""
    parsed = parse_url(url)
    secret = [name for name in parsed.query if is_secret_name(name)]
    shown = parsed.difference_update_query(secret).render_as_string(hide_password=True)
    hidden = "&".join(f"{name}={HIDDEN}" for name in secret)
    return without_passwords(f"{shown}{'&' if '?' in shown else '?'}{hidden}" if hidden else shown)


def artifact_folder(url: str) -> Path:
    """Return the folder beside an SQLite file that holds its artifacts."""
    path = sqlite_path(url)
    assert path is not None
    return path.with_name(f"{path.stem}-artifacts")
