"""Studies that ended long ago are removed: uploads, pictures, trials, and last their jobs.

What is interrupted half way is found again by its jobs.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta

import optuna
import sqlalchemy
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import FrozenTrial

from explainers.errors import LimeTunerError
from studies.records.jobs import Jobs
from studies.storage import open_storage
from studies.storage.artifacts import artifact_store
from studies.web.service.folder import ServiceFolder

__all__ = ["Retention"]

_TROUBLE = (
    LimeTunerError, OSError, sqlalchemy.exc.SQLAlchemyError,
    optuna.exceptions.StorageInternalError,
)  # fmt: skip
_logger = logging.getLogger("lime_tuner.serve")


class Retention:
    """Removes studies that ended long ago.

    Args:
        storage: URL of the database.
        kept: how long a study stays after its last image has ended.
    """

    def __init__(self, storage: str, folder: ServiceFolder, jobs: Jobs, kept: timedelta) -> None:
        self._storage, self._folder, self._jobs, self._kept = storage, folder, jobs, kept

    def sweep(self) -> list[str]:
        """Remove what is over; the names of the studies. Trouble is logged, and tried again."""
        removed = []
        try:
            for study in self._jobs.ended_for(self._kept):
                self._remove(study)
                removed.append(study)
        except _TROUBLE as error:
            reason = " ".join(str(error).split())[:300]
            _logger.error("old studies cannot be removed now: %s", reason)
        if removed:
            days = self._kept / timedelta(days=1)
            _logger.info(
                "removed %s: ended over %g day%s ago", ", ".join(removed), days, "s" * (days != 1)
            )
        return removed

    def _remove(self, study: str) -> None:
        self._folder.forget(study)
        storage = open_storage(self._storage)
        try:
            for job in self._jobs.of(study):
                # Another server of this storage may be at it as well.
                with contextlib.suppress(KeyError):
                    self._remove_trials(job.study_name, storage)
        finally:
            storage.close()
        self._jobs.forget(study)

    def _remove_trials(self, name: str, storage: optuna.storages.BaseStorage) -> None:
        study = optuna.load_study(study_name=name, storage=storage)
        artifacts = artifact_store(self._storage)
        owners: list[optuna.Study | FrozenTrial] = [study, *study.get_trials(deepcopy=False)]
        for owner in owners:
            for each in get_all_artifact_meta(owner, storage=storage):
                artifacts.remove(each.artifact_id)
        optuna.delete_study(study_name=name, storage=storage)
