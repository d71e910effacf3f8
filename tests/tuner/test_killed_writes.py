"""SIGKILL in the middle of an export, a migration, a write to the cache: old or new, never half."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from explainers.lime import PredictionCache
from studies.export import export_pickle, read_pickle
from studies.records import SCHEMA_VERSION, migrations
from studies.records.schema import VERSION_TABLE
from tests.explainers.numpy_classifiers import QuarterColours
from tests.studies.databases import fresh_database
from tests.tuner.killed_writers import (
    KEYS,
    Writer,
    answered,
    exports,
    fills_cache,
    migrates,
    settings,
)
from tests.tuner.kills import Tally, numbers_of, sound_chunks

_VERIFICATIONS, _RUNS = "lime_tuner_verifications", "lime_tuner_runs"
_OLD = ("0001", "0002", "0003", "0005", "0007")


@pytest.mark.parametrize("kills", numbers_of("export"))
def test_an_export_is_the_old_one_or_the_new_one(tmp_path: Path, kills: int) -> None:
    tally, path = Tally("export", kills), tmp_path / "explain_params.pkl"
    number = tally.before = 2
    export_pickle(settings(number), path)
    while tally.goes_on:
        writer = Writer(exports, path, number + 1)
        inside = writer.kill_within(tally.chance.randint(1, 4), tally.chance, 0.01)
        tally.count(at_work=inside)
        found = read_pickle(path)
        assert tuple(found) == KEYS
        (read,) = {kwargs["num_samples"] for kwargs in found.values()}
        number = max([number, *writer.done])
        assert read in ((number, number + 1) if inside else (number,))
        number = read
    # What was being written beside it stays, and is nobody's.
    others = [each for each in tmp_path.iterdir() if each != path]
    assert len(others) <= tally.kills
    assert all(each.name.startswith(f".{path.name}.") for each in others)
    tally.say(number)


@pytest.mark.parametrize(
    ("server", "kills"),
    [
        pytest.param(server, *getattr(each, "values", (each,)), marks=getattr(each, "marks", ()))
        for server in ("sqlite", "postgresql", "mysql")
        for each in numbers_of(f"migration on {server}")
    ],
)
def test_a_migration_is_finished_by_the_next_one(tmp_path: Path, server: str, kills: int) -> None:
    tally = Tally(f"migration on {server}", kills)
    statements, schemas = dict[str, int](), dict[str, dict[str, Any]]()
    for version in _OLD[:kills]:
        with _old_database(server, tmp_path, version) as url:
            whole = Writer(migrates, url)
            assert whole.finish() == 0
            statements[version] = len(whole.marks) - 1
            schemas[version] = _schema(url)
            assert schemas[version]["version"] == SCHEMA_VERSION
    while tally.goes_on:
        version = _OLD[tally.kills % len(statements)]
        with _old_database(server, tmp_path, version) as url:
            kept = _rows(url)
            tally.before += sum(map(len, kept.values()))
            writer, after = Writer(migrates, url), tally.chance.randint(1, statements[version])
            inside = writer.kill_within(after, tally.chance, 0.001)
            tally.count(at_work=inside)
            assert _rows(url) == kept
            # Two at once: on SQLite the second waits for the first.
            again = [Writer(migrates, url) for _ in range(1 + (server == "sqlite"))]
            assert [each.finish() for each in again] == [0] * len(again), (version, writer.marks)
            assert _rows(url) == kept
            tally.after += sum(map(len, kept.values()))
            assert _schema(url) == schemas[version]
    tally.say(tally.after)


@contextmanager
def _old_database(server: str, folder: Path, version: str) -> Iterator[str]:
    """The URL of one that an early version has made, with rows in it."""
    with ExitStack() as stack:
        if server == "sqlite":
            file = folder / f"{version}.db"
            made = folder / "old.db"
            for each in folder.glob("old.db*"):
                each.unlink()
            if not file.exists():
                _make(f"sqlite:///{file}", version)
            shutil.copy(file, made)
            yield f"sqlite:///{made}"
            return
        url = stack.enter_context(fresh_database(server))
        _make(url, version)
        yield url


def _make(url: str, version: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, version)
    with engine.begin() as connection:
        tables = sqlalchemy.MetaData()
        tables.reflect(connection, only=lambda name, _: name in (_VERIFICATIONS, _RUNS))
        for table in tables.sorted_tables:
            connection.execute(table.insert(), [_row(table, number) for number in range(1, 101)])
    engine.dispose()


def _row(table: sqlalchemy.Table, number: int) -> dict[str, Any]:
    """Something in every column that must have something."""
    values: dict[type, Any] = {
        str: f"text {number}", int: number, float: number / 8, Decimal: number / 8, bool: True,
        datetime: datetime(2026, 1, 1, 0, 0, number % 60),
    }  # fmt: skip
    return {
        column.name: values[column.type.python_type]
        for column in table.columns
        if not column.nullable
    }


def _rows(url: str) -> dict[str, list[dict[str, Any]]]:
    """What was there before, by table; columns that are new are left out."""
    engine = sqlalchemy.create_engine(url)
    tables = sqlalchemy.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection, only=lambda name, _: name in (_VERIFICATIONS, _RUNS))
        found = {
            table.name: [dict(row._mapping) for row in connection.execute(table.select())]
            for table in tables.sorted_tables
        }
    engine.dispose()
    for rows in found.values():
        for row in rows:
            row.pop("settings", None)
            assert row.pop("finished", True)
        rows.sort(key=lambda row: row["id"])
    return {name: rows for name, rows in found.items() if rows}


def _schema(url: str) -> dict[str, Any]:
    """The version, and columns and indexes of every table."""
    engine = sqlalchemy.create_engine(url)
    inspector = sqlalchemy.inspect(engine)
    found: dict[str, Any] = {
        name: (
            {column["name"]: str(column["type"]) for column in inspector.get_columns(name)},
            sorted(str(index["name"]) for index in inspector.get_indexes(name)),
        )
        for name in inspector.get_table_names()
    }
    with engine.connect() as connection:
        query = f"SELECT version_num FROM {VERSION_TABLE}"
        found["version"] = connection.exec_driver_sql(query).scalar()
    engine.dispose()
    return found


@pytest.mark.parametrize("kills", numbers_of("cache"))
def test_answers_that_the_cache_has_taken_are_kept(tmp_path: Path, kills: int) -> None:
    tally, taken = Tally("cache", kills), set[int]()
    chance, number = tally.chance, 0
    while tally.goes_on:
        # Two at once every other time, of whom one goes on when the other is killed.
        writers = [Writer(fills_cache, tmp_path, number + i, 2) for i in range(1 + tally.kills % 2)]
        for writer in writers:
            tally.count(at_work=writer.kill_within(chance.randint(1, 20), chance, 0.01))
            taken |= set(writer.done)
            _assert_answered(tmp_path, set(writer.done))
            number = max(number, *(each for _, each in writer.marks)) + 1
    _assert_answered(tmp_path, taken)
    assert len(taken) > kills
    tally.say(len(taken))


def _assert_answered(folder: Path, numbers: set[int]) -> None:
    """Nothing of these has to be asked again, and the answers are the right ones."""
    assert sound_chunks(folder / "answers.sqlite3") >= len(numbers)
    cache, right, source = PredictionCache(folder), PredictionCache(), QuarterColours(6)
    for number in numbers:
        kept = answered(cache, source, number)
        np.testing.assert_array_equal(kept, answered(right, QuarterColours(6), number))
    cache.close()
    assert source.asked == []
