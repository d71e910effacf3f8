"""Optuna's own tests of a storage, with ours; and that its tables are as we read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from optuna.testing.pytest_storages import StorageTestCase

from studies.storage import open_storage
from studies.storage.optuna_tables import TABLES
from studies.storage.reconnecting import ReconnectingStorage
from tests.studies.databases import fresh_database


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with fresh_database("postgresql") as url:
        yield url


class TestSqlite(StorageTestCase):  # type: ignore[misc]
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[ReconnectingStorage]:
        with closing(open_storage(f"sqlite:///{tmp_path / 'x.db'}")) as storage:
            yield storage


class TestPostgresql(StorageTestCase):  # type: ignore[misc]
    @pytest.fixture
    def storage(self, postgresql: str) -> Iterator[ReconnectingStorage]:
        with closing(open_storage(postgresql)) as storage:
            yield storage
            for study in storage.get_all_studies():
                storage.delete_study(study._study_id)


def test_optunas_tables_have_the_columns_that_are_read_and_written(any_database: str) -> None:
    with closing(open_storage(any_database)) as storage:
        made = sqlalchemy.inspect(storage.engine)
        for table in TABLES.tables.values():
            columns = {column["name"] for column in made.get_columns(table.name)}
            assert columns >= {column.name for column in table.columns}
