"""Optuna's database storage, for databases that are restarted and workers that are killed."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import StorageError
from studies.attributes import DEFAULTS_ORIGIN, FAILURE, WORKER
from studies.full_disk import is_full, no_space
from studies.storage import database_reason, describe, open_storage, sqlite_path

__all__ = [
    "UNREACHABLE", "PatientStorage", "again_elsewhere", "bury_dead", "trouble_told",
    "unreachable_reason", "until_reachable",
]  # fmt: skip

UNREACHABLE = (
    optuna.exceptions.StorageInternalError, sqlalchemy.exc.DBAPIError,
    sqlalchemy.exc.TimeoutError,
)  # fmt: skip
"""What a call of a storage raises while its database is away."""

_MOST_RETRIES = 3
_RETRIES = "retry_history"  # Optuna's own name, so that its functions read it
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class PatientStorage(optuna.storages.RDBStorage):
    """Whose heartbeat goes on when the database comes back.

    Optuna's thread would end at the first heartbeat that cannot be written, and the trial, alive,
    would be taken for dead.
    """

    def record_heartbeat(self, trial_id: int) -> None:
        """Write it, or let it be until next time."""
        try:
            super().record_heartbeat(trial_id)
        except UNREACHABLE as error:
            # A full disk is told by whoever writes next.
            level = logging.INFO if is_full(error) else logging.WARNING
            _logger.log(level, "a heartbeat could not be written: %s", unreachable_reason(error))

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Those that Optuna is about to fail, with the reason written while they can be."""
        stale = []
        for trial_id in super()._get_stale_trial_ids(study_id):
            who = self.get_trial(trial_id).user_attrs.get(WORKER, "its worker")
            try:
                self.set_trial_user_attr(
                    trial_id, FAILURE, f"{who} gave no sign of life for {self.grace_period} s"
                )
            except optuna.exceptions.UpdateFinishedTrialError:
                continue  # somebody else has failed it just now
            stale.append(trial_id)
        return stale


def again_elsewhere(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let what a dead worker has left be tried again, by whoever is next.

    What it had found so far is left behind; a trial that dies every time is given up.
    """
    history = [*trial.system_attrs.get(_RETRIES, []), trial.number]
    is_defaults = trial.user_attrs.get("origin") == DEFAULTS_ORIGIN
    if len(history) > _MOST_RETRIES or not (trial.params or is_defaults):
        return
    kept = ("origin", "lime_parameters") if is_defaults else ("origin",)
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={k: v for k, v in trial.user_attrs.items() if k in kept},
            system_attrs={"failed_trial": history[0], _RETRIES: history, **_fixed(trial)},
        )
    )


def bury_dead(url: str, names: Iterable[str]) -> None:
    """Fail the trials of some studies whose workers are dead, so that they are tried again."""
    storage = open_storage(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for name in names:
            optuna.storages.fail_stale_trials(optuna.load_study(study_name=name, storage=storage))


def _fixed(trial: FrozenTrial) -> dict[str, Any]:
    fixed = trial.system_attrs.get("fixed_params")
    return {} if fixed is None else {"fixed_params": fixed}


def until_reachable(
    ask: Callable[[], _T],
    *,
    stop: Callable[[], bool] = lambda: False,
    told: Callable[[str], None] = lambda line: None,
    pause: Callable[[float], object] = time.sleep,
) -> _T:
    """Ask a database until it answers, with growing pauses.

    Args:
        stop: asked before every pause; then the last error is raised.
        told: called once when waiting begins, and once when it is over.
    """
    wait, waited = _FIRST_PAUSE, False
    while True:
        try:
            found = ask()
        except UNREACHABLE as error:
            if stop():
                raise
            if not waited:
                told(f"the database is away ({unreachable_reason(error)}): waiting for it")
            waited = True
            pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)
        else:
            if waited:
                told("the database is back")
            return found


@contextmanager
def trouble_told(url: str) -> Iterator[None]:
    """Turn what a storage raises in the middle of the work into one line.

    Raises:
        StorageError: its disk is full, or it is away.
    """
    try:
        yield
    except UNREACHABLE as error:
        if is_full(error, sqlite_path(url)):
            raise no_space(describe(url)) from error
        raise StorageError(
            f"storage {describe(url)} cannot be used any more ({unreachable_reason(error)}): see "
            "to the database, and the same command goes on from there"
        ) from error


def unreachable_reason(error: BaseException) -> str:
    """What the database says, behind what Optuna and SQLAlchemy make of it."""
    return database_reason(error.__cause__ or error)[:160]
