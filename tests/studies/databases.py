"""Databases to test against: SQLite, and a fresh one on a server for every test.

``LIME_TUNER_TEST_POSTGRESQL`` and ``LIME_TUNER_TEST_MYSQL`` are SQLAlchemy URLs of servers where
databases may be made, e.g. ``postgresql+psycopg://postgres@localhost/postgres`` and
``mysql+pymysql://root@localhost/mysql``. Where one is not set, a server is started for the session
if it is installed. Tests are skipped if it is not, or fail with LIME_TUNER_REQUIRE_DATABASES=1.
"""

from __future__ import annotations

import atexit
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

SERVERS = {"postgresql": "LIME_TUNER_TEST_POSTGRESQL", "mysql": "LIME_TUNER_TEST_MYSQL"}


@cache
def _own_server(server: str) -> str:
    """The URL of a server that lives as long as this process."""
    from tests.studies.clusters import private_cluster

    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(private_cluster(server)).url


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database; it is dropped at the end.

    Args:
        server: a key of ``SERVERS``.
    """
    import sqlalchemy
    from sqlalchemy.engine import make_url

    url = make_url(os.environ.get(SERVERS[server]) or _own_server(server))
    name = f"lime_tuner_test_{uuid.uuid4().hex[:16]}"
    # CREATE DATABASE is not allowed in a transaction.
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            # A connection that a test left open must not keep the database.
            force = " WITH (FORCE)" if server == "postgresql" else ""
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
    finally:
        engine.dispose()


def cut_connections(url: str) -> None:
    """What a restart of the server does to everybody."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            rows = connection.exec_driver_sql(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in rows.fetchall():
                connection.exec_driver_sql(f"KILL {number}")
    engine.dispose()


@pytest.fixture(params=list(SERVERS))
def server_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database, on one server after the other."""
    with fresh_database(request.param) as url:
        yield url


@pytest.fixture(params=["sqlite", *SERVERS])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: a file, and on one server after the other."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'elsewhere.db'}"
        return
    with fresh_database(request.param) as url:
        yield url
