"""Check that a database exists, is ours, and can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import sqlalchemy

from explainers.errors import StorageError
from studies.full_disk import is_full, no_space
from studies.storage.errors import connected, errors_told
from studies.storage.one_host import check_one_host
from studies.storage.urls import describe, sqlite_path

__all__ = ["check_storage", "holds_studies"]

_OPTUNA_TABLES = {"studies", "trials", "version_info"}
_OUR_TABLES = "lime_tuner_"


def check_storage(url: str, *, write: bool) -> None:
    """Check a storage without creating anything.

    Args:
        write: whether it will be written; then it need not exist yet.

    Raises:
        StorageError: the file or its folder is missing or read-only; the database belongs to
            another program; an SQLite file to be written is on a network file system, or another
            host writes it.
    """
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
    # A grading server and submissions write tables of ours before there is any study.
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
    """Whether the database exists and has Optuna's tables.

    Raises:
        StorageError: it cannot be read.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return False
    with connected(url) as connection:
        return set(sqlalchemy.inspect(connection).get_table_names()) >= _OPTUNA_TABLES


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
