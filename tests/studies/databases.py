"""Databases to test against: SQLite, and a fresh one on a server for every test.

``LIME_TUNER_TEST_POSTGRESQL`` and ``LIME_TUNER_TEST_MYSQL`` are SQLAlchemy URLs of servers where
databases may be made, e.g. ``postgresql+psycopg://postgres@localhost/postgres`` and
``mysql+pymysql://root@localhost/mysql``. Tests skip a server whose variable is not set.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVERS = {"postgresql": "LIME_TUNER_TEST_POSTGRESQL", "mysql": "LIME_TUNER_TEST_MYSQL"}


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database; it is dropped at the end.

    Args:
        server: a key of ``SERVERS``.
    """
    import sqlalchemy
    from sqlalchemy.engine import make_url

    variable = SERVERS[server]
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no server")
    url = make_url(os.environ[variable])
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
