"""Passwords reach no message, log or table."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import sqlalchemy

from explainers.errors import InvalidInput, LimeTunerError
from studies.passwords import without_passwords
from studies.storage import describe, open_storage, parse_url, trouble_of
from tuner.log_file import LOG_FILE, log_to, record_error

# With what stands for itself in one, what should have been escaped, and what looks like a path.
PASSWORDS = (
    "geheim", "geh%40eim", "geh:eim", "geh/eim", "geh#eim", "geh?eim", "geh%eim", "ge'heim",
)  # fmt: skip


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_url_is_described_without_its_password(password: str) -> None:
    url = f"postgresql+psycopg://me:{password}@host:5432/db"
    assert describe(url) == "postgresql+psycopg://me:***@host:5432/db"
    assert without_passwords(f"cannot reach {url}, sorry") == (
        "cannot reach postgresql+psycopg://me:***@host:5432/db, sorry"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:geh@eim@host/db",
        "postgresql+psycopg://me:geh@e@im@host/db",
        "postgresql+psycopg://me:geh@eim/@host/db",
        "postgresql+psycopg://:geh@eim@host/db",
        "mysql+pymysql://me:geh@eim@host:3306/db?charset=utf8",
    ],
)
def test_an_at_sign_in_a_password_is_refused_and_nothing_of_it_shown(url: str) -> None:
    for ask in (parse_url, describe, open_storage):
        with pytest.raises(InvalidInput, match="write @ in a password as %40") as raised:
            ask(url)
        assert "geh" not in str(raised.value)
        assert "eim" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//me:geheim@host/db", "me:geheim@host/db", "postgresql://me:geheim@host:no/db",
        "sqlite://me:geheim@/", "post gres://me:geheim@host/db", "sqlite:///?password=geheim",
    ],
)  # fmt: skip
def test_what_is_no_url_is_told_without_a_password(url: str) -> None:
    with pytest.raises(LimeTunerError) as raised:
        parse_url(url)
    assert "geheim" not in str(raised.value)


def test_a_user_may_be_called_as_clouds_call_them() -> None:
    assert describe("postgresql://me@lab:geheim@host/db") == "postgresql://me%40lab:***@host/db"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?password=geheim", "?password=***"),
        ("?sslmode=require&password=geheim", "?sslmode=require&password=***"),
        ("?ssl_password=geheim&passfile=x", "?passfile=x&ssl_password=***"),
    ],
)
def test_a_password_in_a_query_is_hidden(query: str, shown: str) -> None:
    assert describe(f"postgresql://me@host/db{query}") == f"postgresql://me@host/db{shown}"


@pytest.mark.parametrize(
    "said",
    [
        'connection to "postgresql://me:geheim@host/db" failed',
        "invalid dsn: host=h password=geheim user=me",
        "invalid dsn: password = 'geheim'",
        json.dumps({"user": "me", "password": "geheim"}),
        "{'password': 'geheim'}",
        "GET /?a=b&password=geheim&c=d",
    ],
)
def test_what_others_repeat_is_hidden(tmp_path: Path, said: str) -> None:
    assert "geheim" not in without_passwords(said)
    error = sqlalchemy.exc.OperationalError("SELECT 1", {}, RuntimeError(said))
    trouble = trouble_of(error, "postgresql://me:geheim@host/db")
    assert trouble is not None
    assert "geheim" not in str(trouble)
    log = tmp_path / LOG_FILE
    record_error(log, "unexpected", error)
    with log_to(log):
        logging.getLogger("tuner.x").error("%s", said)
    assert "geheim" not in log.read_text()
    assert log.read_text().count("***") >= 2


def test_what_is_no_password_stays() -> None:
    for text in ("set LIME_TUNER_TOKEN: to a secret", "a: b@c", "12:30@x"):
        assert without_passwords(text) == text
