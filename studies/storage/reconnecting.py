"""Optuna's database storage, for servers that are restarted and workers that are killed."""

from __future__ import annotations

import functools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import StorageAway, StorageError
from explainers.messages import one_line
from studies.full_disk import is_full
from studies.results.attributes import DEFAULTS_ORIGIN, FAILURE, RETRIES
from studies.storage import optuna_tables
from studies.storage.errors import database_reason, is_away, trouble_of
from studies.storage.heartbeats import grace_seconds, heartbeat_seconds
from studies.storage.optuna_tables import RunningTrial
from studies.storage.urls import describe, sqlite_path

__all__ = [
    "UNREACHABLE", "ReconnectingStorage", "fail_stale_trials",
    "trouble_told", "unreachable_reason", "until_reachable",
]  # fmt: skip

UNREACHABLE = (
    optuna.exceptions.StorageInternalError, sqlalchemy.exc.DBAPIError,
    sqlalchemy.exc.TimeoutError, StorageAway,
)  # fmt: skip
"""What a call of a storage raises while its database is away."""

_SQLITE_BUSY_SECONDS = 60
_MOST_RETRIES = 3
_FIXED = "fixed_params"  # Optuna's, too: what an enqueued trial shall try
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_PATIENCE_SECONDS = 900.0
_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _waiting(
    method: Callable[Concatenate[BaseStorage, _P], _T],
) -> Callable[Concatenate[ReconnectingStorage, _P], _T]:
    """The wrapped storage's method, asked again while the database is away.

    Only for what may be done twice: whether a call before a connection broke was carried out is
    not known.
    """
    name = method.__name__

    def patient(self: ReconnectingStorage, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def ask() -> _T:
            answer: _T = getattr(self._storage, name)(*args, **kwargs)
            return answer

        return self._until_back(ask)

    # Not what marks the method as abstract.
    functools.update_wrapper(patient, method, updated=())
    return patient


class _SqliteConnection(sqlite3.Connection):
    """Waits for the disk at checkpoints only: in WAL mode a crash of the machine may lose the last
    transactions, and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA synchronous = NORMAL")


class ReconnectingStorage(BaseStorage):
    """Wraps Optuna's storage: waits for a server that is away, and knows which trials are alive.

    Optuna's own storage raises in the middle of a trial, which is then lost with all that it
    found. Its heartbeats begin when a sampler has proposed something, and a trial without any
    counts as alive for ever. Here they go from a trial's begin to its end, or until the storage is
    closed, in the same table; :func:`fail_stale_trials` is called before a trial is begun.

    Everything is in the database when a call returns, as with Optuna's
    :class:`~optuna.storages.RDBStorage`; finished trials are read once.

    Args:
        url: of the database.
        wal: put an SQLite file into WAL mode.
        heartbeat, grace: seconds between signs of life, and without one until a trial is dead.

    Attributes:
        engine: SQLAlchemy's, for the same database.
    """

    def __init__(
        self,
        url: str,
        *,
        wal: bool = True,
        heartbeat: float | None = None,
        grace: float | None = None,
    ) -> None:
        # What the environment says wrong is refused before a database is made.
        self._heartbeat = heartbeat_seconds() if heartbeat is None else heartbeat
        self._grace = grace_seconds() if grace is None else grace
        is_sqlite = sqlite_path(url) is not None
        sqlite_arguments = {"timeout": _SQLITE_BUSY_SECONDS, "factory": _SqliteConnection}
        self._database = optuna.storages.RDBStorage(
            url,
            engine_kwargs={"connect_args": sqlite_arguments}
            if is_sqlite
            else {"pool_pre_ping": True},
        )
        # With the cache that Optuna itself puts before a database.
        self._storage = optuna.storages.get_storage(self._database)
        self._beating: dict[int, _Heartbeat] = {}
        self._cut_off: float | None = None  # when this process last found the database away
        if is_sqlite and wal:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_beating": {}}

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The engine of the wrapped storage."""
        return self._database.engine

    def close(self) -> None:
        """Let go of the database, and of the trials that are running here.

        Optuna leaves that to the garbage collector, but a server has a hundred connections or so
        for everybody.
        """
        for trial_id in list(self._beating):
            self._end_heartbeat(trial_id)
        self.remove_session()
        self.engine.dispose()

    def remove_session(self) -> None:
        """Close this thread's connection."""
        self._database.remove_session()

    def _until_back(self, ask: Callable[[], _T]) -> _T:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        final: Exception | None = None

        def stop() -> bool:
            return final is not None or time.monotonic() > deadline

        def tried() -> _T:
            nonlocal final
            try:
                return ask()
            except UNREACHABLE as error:
                if is_away(error):
                    self._cut_off = time.monotonic()
                else:
                    final = error  # no waiting helps
                raise

        return until_reachable(tried, stop=stop, on_message=_logger.warning)

    create_new_study = _waiting(BaseStorage.create_new_study)
    delete_study = _waiting(BaseStorage.delete_study)
    set_study_user_attr = _waiting(BaseStorage.set_study_user_attr)
    set_study_system_attr = _waiting(BaseStorage.set_study_system_attr)
    get_study_id_from_name = _waiting(BaseStorage.get_study_id_from_name)
    get_study_name_from_id = _waiting(BaseStorage.get_study_name_from_id)
    get_study_directions = _waiting(BaseStorage.get_study_directions)
    get_study_user_attrs = _waiting(BaseStorage.get_study_user_attrs)
    get_study_system_attrs = _waiting(BaseStorage.get_study_system_attrs)
    get_all_studies = _waiting(BaseStorage.get_all_studies)
    set_trial_param = _waiting(BaseStorage.set_trial_param)
    set_trial_intermediate_value = _waiting(BaseStorage.set_trial_intermediate_value)
    set_trial_user_attr = _waiting(BaseStorage.set_trial_user_attr)
    set_trial_system_attr = _waiting(BaseStorage.set_trial_system_attr)
    get_trial_id_from_study_id_trial_number = _waiting(
        BaseStorage.get_trial_id_from_study_id_trial_number
    )
    get_trial = _waiting(BaseStorage.get_trial)
    get_all_trials = _waiting(BaseStorage.get_all_trials)
    get_best_trial = _waiting(BaseStorage.get_best_trial)

    def create_whole_study(
        self, name: str, directions: Sequence[StudyDirection], attributes: Mapping[str, Any]
    ) -> bool:
        """See :func:`studies.storage.optuna_tables.add_study`."""
        names = [each.name for each in directions]
        return self._until_back(
            lambda: optuna_tables.add_study(self.engine, name, names, attributes)
        )

    def add_study_attributes(self, study_id: int, attributes: Mapping[str, Any]) -> bool:
        """See :func:`studies.storage.optuna_tables.add_attributes`."""
        return self._until_back(
            lambda: optuna_tables.add_attributes(self.engine, study_id, attributes)
        )

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's; if the insert is repeated, the first row gets no heartbeat and is failed as
        stale."""
        trial_id = self._until_back(
            lambda: self._storage.create_new_trial(study_id, template_trial)
        )
        if template_trial is None:
            self._begin_heartbeat(trial_id)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; a state that was written before a connection broke counts as written."""
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return self._storage.set_trial_state_values(trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                if attempts > 1 and self._storage.get_trial(trial_id).state == state:
                    return True
                raise

        try:
            done = self._until_back(attempt)
        finally:
            if state.is_finished():
                self._end_heartbeat(trial_id)
        if done and state == TrialState.RUNNING:
            self._begin_heartbeat(trial_id)
        return done

    def _begin_heartbeat(self, trial_id: int) -> None:
        # A thread runs one trial at a time: what it left without an end was given up.
        for other, earlier in list(self._beating.items()):
            if earlier.owner == threading.get_ident():
                self._end_heartbeat(other)
        self._beating[trial_id] = _Heartbeat(self, trial_id, self._heartbeat)

    def _end_heartbeat(self, trial_id: int) -> None:
        found = self._beating.pop(trial_id, None)
        if found is not None:
            found.end()

    def record_heartbeat(self, trial_id: int) -> None:
        """Write a sign of life of a trial; one that cannot be written is left out."""
        try:
            self._database.record_heartbeat(trial_id)
        except UNREACHABLE as error:
            self._cut_off = time.monotonic()
            # A full disk is told by whoever writes next.
            level = logging.INFO if is_full(error) else logging.WARNING
            _logger.log(level, "a heartbeat could not be written: %s", unreachable_reason(error))

    def fail_stale_trials(self, study_name: str) -> None:
        """Fail a study's trials whose workers are dead, and enqueue what they were at."""
        if self._cut_off is not None and time.monotonic() - self._cut_off < self._grace:
            return  # who was cut off, too, has not heard the others
        for trial in self._until_back(self._running_trials):
            if trial.study != study_name or trial.trial_id in self._beating:
                continue
            if trial.heard is None:
                # On behalf of its worker: it is dead when nobody goes on with it.
                self.record_heartbeat(trial.trial_id)
            elif trial.heard > self._grace:
                self._fail(trial)

    def _running_trials(self) -> list[RunningTrial]:
        with self.engine.connect() as connection:
            return optuna_tables.running_trials(connection)

    def _fail(self, stale: RunningTrial) -> None:
        who = stale.worker or "its worker"
        reason = f"{who} gave no sign of life for {self._grace:g} s"
        try:
            self.set_trial_user_attr(stale.trial_id, FAILURE, reason)
            self.set_trial_state_values(stale.trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return  # somebody else just did it
        again = _again(self.get_trial(stale.trial_id))
        if again is not None:
            self.create_new_trial(self.get_study_id_from_name(stale.study), again)


class _Heartbeat:
    """Signs of life of a trial that the thread which makes this one runs, until it ends."""

    def __init__(self, storage: ReconnectingStorage, trial_id: int, pause: float) -> None:
        self.owner = threading.get_ident()
        self._over = threading.Event()

        def keep_beating() -> None:
            while not self._over.is_set():
                storage.record_heartbeat(trial_id)
                self._over.wait(pause)
            storage.remove_session()

        self._thread = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for the last one, if it is being written."""
        self._over.set()
        self._thread.join()


def _again(trial: FrozenTrial) -> FrozenTrial | None:
    """What a dead worker has left, to be tried by whoever is next.

    What it had found so far is left behind; a trial that dies every time is given up.
    """
    history = [*trial.system_attrs.get(RETRIES, []), trial.number]
    is_defaults = trial.user_attrs.get("origin") == DEFAULTS_ORIGIN
    fixed = {key: value for key, value in trial.system_attrs.items() if key == _FIXED}
    # One that died before it was known what it tries is not missed.
    known = trial.params or fixed.get(_FIXED) or is_defaults
    if len(history) > _MOST_RETRIES or not known:
        return None
    kept = ("origin", "lime_parameters") if is_defaults else ("origin",)
    return optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={k: v for k, v in trial.user_attrs.items() if k in kept},
        system_attrs={"failed_trial": history[0], RETRIES: history, **fixed},
    )


def fail_stale_trials(study: optuna.Study) -> None:
    """:meth:`ReconnectingStorage.fail_stale_trials` of a study; nothing with other storages."""
    storage = study._storage  # Optuna has no public name for it
    if isinstance(storage, ReconnectingStorage):
        storage.fail_stale_trials(study.study_name)


def until_reachable(
    ask: Callable[[], _T],
    *,
    stop: Callable[[], bool] = lambda: False,
    on_message: Callable[[str], None] = lambda line: None,
    pause: Callable[[float], object] = time.sleep,
) -> _T:
    """Ask a database until it answers, with growing pauses.

    Args:
        stop: asked before every pause; then the last error is raised.
        on_message: called once when waiting begins, and once when it is over.
    """
    wait, waited = _FIRST_PAUSE, False
    while True:
        try:
            found = ask()
        except UNREACHABLE as error:
            if stop():
                raise
            if not waited:
                on_message(f"the database is away ({unreachable_reason(error)}): waiting for it")
            waited = True
            pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)
        else:
            if waited:
                on_message("the database is back")
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
        trouble = trouble_of(error, url)
        if trouble is not None and not isinstance(trouble, StorageAway):
            raise trouble from error
        raise StorageError(
            f"storage {describe(url)} cannot be used any more ({unreachable_reason(error)}): see "
            "to the database, and the same command goes on from there"
        ) from error


def unreachable_reason(error: BaseException) -> str:
    """What the database says, behind what Optuna and SQLAlchemy make of it."""
    return one_line(database_reason(error), 160)
