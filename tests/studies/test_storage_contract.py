"""Optuna's own tests of a storage, with ours; and that its tables are as we read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy
from optuna.testing.pytest_storages import StorageTestCase

from studies.storage import open_storage
from studies.storage.optuna_tables import TABLES
from studies.storage.reconnecting import ReconnectingStorage
from tests.studies.databases import fresh_database


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReconnectingStorage]:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('contract') / 'x.db'}"
        if request.param != "sqlite":
            url = stack.enter_context(fresh_database(request.param))
        yield stack.enter_context(closing(open_storage(url)))


class TestOurStorage(StorageTestCase):  # type: ignore[misc]
    """One storage for all tests, emptied after each."""

    @pytest.fixture
    def storage(self, opened: ReconnectingStorage) -> Iterator[ReconnectingStorage]:
        yield opened
        for study in opened.get_all_studies():
            opened.delete_study(study._study_id)


def test_optunas_tables_have_the_columns_that_are_read_and_written(any_database: str) -> None:
    with closing(open_storage(any_database)) as storage:
        made = sqlalchemy.inspect(storage.engine)
        for table in TABLES.tables.values():
            columns = {column["name"] for column in made.get_columns(table.name)}
            assert columns >= {column.name for column in table.columns}


def test_no_private_module_of_optuna_is_imported() -> None:
    private = re.compile(r"\boptuna(\.\w+)*\._\w|from optuna\S* import (.*\W)?_\w")
    root = Path(__file__).parents[2]
    for room in ("tuner", "studies", "explainers", "dissection"):
        for path in (root / room).rglob("*.py"):
            assert private.search(path.read_text()) is None, path
