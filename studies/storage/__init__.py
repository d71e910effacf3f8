"""Open, check and read the database of studies, which a URL names.

:mod:`studies.storage.reconnecting` is not imported here, as it needs Optuna, whose import takes a
third of a second: too long for ``status``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from explainers.errors import StorageError
from studies.storage.checks import check_storage, holds_studies
from studies.storage.errors import (
    connected,
    database_reason,
    errors_told,
    is_away,
    trouble_of,
)
from studies.storage.heartbeats import grace_seconds, heartbeat_seconds
from studies.storage.one_host import this_host, this_worker
from studies.storage.urls import (
    DEFAULT_STORAGE,
    absolute_url,
    artifact_folder,
    describe,
    parse_url,
    sqlite_path,
)

if TYPE_CHECKING:
    from studies.storage.reconnecting import ReconnectingStorage

__all__ = [
    "DEFAULT_STORAGE", "absolute_url", "artifact_folder", "check_storage", "connected",
    "database_reason", "describe", "errors_told", "grace_seconds", "heartbeat_seconds",
    "holds_studies", "is_away", "open_storage", "parse_url", "sqlite_path",
    "this_host", "this_worker", "trouble_of",
]  # fmt: skip


def open_storage(url: str, *, write: bool = True) -> ReconnectingStorage:
    """Open a storage whose running trials send heartbeats.

    Args:
        write: ``False`` for a storage that must exist; otherwise SQLite is put into WAL mode, in
            which readers do not block the writer.

    For example::

        with closing(open_storage("sqlite:///tuning.db")) as storage:
            study = optuna.create_study(storage=storage, study_name="mine")
            study.optimize(objective, n_trials=20)

    Raises:
        InvalidInput: the URL is wrong.
        StorageError: see :func:`check_storage`; or another version of Optuna made the schema.
    """
    check_storage(url, write=write)
    from studies.storage.reconnecting import ReconnectingStorage

    with errors_told(url):
        try:
            return ReconnectingStorage(url, wal=write)
        except RuntimeError as error:  # a schema of another Optuna version
            raise StorageError(f"storage {describe(url)}: {str(error).splitlines()[0]}") from error
