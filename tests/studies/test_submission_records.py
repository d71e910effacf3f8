"""What was submitted is kept, and nothing is made by looking."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy

from explainers.errors import StorageError
from studies.records import add_submission, submissions
from studies.records.schema import VERSION_TABLE
from studies.storage import check_storage, open_storage
from tests.studies.scripted_server import ONE


def test_what_is_recorded_is_read_back_oldest_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    east = timezone(timedelta(hours=5))
    other = replace(ONE, url="http://other.example", at=datetime(2026, 1, 1, 5, tzinfo=east))
    plain = replace(ONE, study=None, predicted_iou=None, predicted_time=None, avg_iou=1.0)
    for each in (ONE, other, plain):
        add_submission(url, each)
    assert submissions(url) == [ONE, other, plain]
    assert submissions(url)[1].at.utcoffset() == timedelta()
    assert submissions(url, ONE.url) == [ONE, plain]
    assert submissions(url, "https://nobody.example") == []
    check_storage(url, write=True)  # studies may come into it later
    open_storage(url)
    assert submissions(url, other.url) == [other]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert submissions(f"sqlite:///{tmp_path / 'no.db'}") == []
    assert list(tmp_path.iterdir()) == []
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    open_storage(url)
    assert submissions(url) == []
    assert not sqlalchemy.inspect(sqlalchemy.create_engine(url)).has_table(VERSION_TABLE)
    (tmp_path / "bad.db").write_bytes(b"this is no database, but long enough to be looked at")
    with pytest.raises(StorageError, match=r"bad\.db.*--storage"):
        submissions(f"sqlite:///{tmp_path / 'bad.db'}")


def test_an_older_database_has_none_yet(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    add_submission(url, ONE)
    with sqlalchemy.create_engine(url).begin() as connection:
        for name in ("submissions", "grades", "calibrations", "artifacts", "jobs"):
            connection.exec_driver_sql(f"DROP TABLE lime_tuner_{name}")
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0005'")
    assert submissions(url) == []
    add_submission(url, ONE)
    assert submissions(url) == [ONE]
