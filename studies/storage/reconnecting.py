"""Optuna's database storage, made robust against restarts of the server and deaths of workers."""

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
"""What a call of a storage may raise while its database is unreachable."""

_SQLITE_BUSY_SECONDS = 60
_MOST_RETRIES = 3  # of a trial whose workers die, one after the other
_FIXED = "fixed_params"  # Optuna's system attribute with the parameters of an enqueued trial
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds
_PATIENCE_SECONDS = 900.0  # that a call waits for a server
_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _waiting(
    method: Callable[Concatenate[BaseStorage, _P], _T],
) -> Callable[Concatenate[ReconnectingStorage, _P], _T]:
    """Wrap a method of the storage so that it is called again while the database is unreachable.

    The method must be idempotent: it is unknown whether a call had its effect before the connection
    broke.
    """
    name = method.__name__

    def patient(self: ReconnectingStorage, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def ask() -> _T:
            answer: _T = getattr(self._storage, name)(*args, **kwargs)
            return answer

        return self._until_back(ask)

    # Without __dict__, which marks the method as abstract.
    functools.update_wrapper(patient, method, updated=())
    return patient


class _SqliteConnection(sqlite3.Connection):
    """Syncs at checkpoints only: in WAL mode a crash may lose the last transactions, no more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA synchronous = NORMAL")


class ReconnectingStorage(BaseStorage):
    """Wraps Optuna's storage: waits for an unreachable server, and sends heartbeats.

    Optuna's own storage raises in the middle of a trial, whose results are then lost. It begins
    heartbeats after a sampler's first proposal, and a trial without any counts as alive for ever.
    Here they are sent from a trial's start to its end, or until the storage is closed, into the
    same table; :func:`fail_stale_trials` is called before a trial is begun.

    Persistence: what a call has written is in the database when it returns, also when the process
    is killed; only a crash of the machine may lose an SQLite file's last transactions. A call whose
    connection breaks is repeated though it may have been carried out: a study that is made or
    deleted twice is refused as Optuna refuses it. Finished trials are read once.

    Args:
        url: of the database.
        wal: put an SQLite file into WAL mode.
        heartbeat: seconds between two heartbeats.
        grace: seconds without a heartbeat after which a trial counts as dead.
    """

    def __init__(
        self,
        url: str,
        *,
        wal: bool = True,
        heartbeat: float | None = None,
        grace: float | None = None,
    ) -> None:
        # A wrong environment variable is refused here, before a database is created.
        self._heartbeat = heartbeat_seconds() if heartbeat is None else heartbeat
        self._grace = grace_seconds() if grace is None else grace
        is_sqlite = sqlite_path(url) is not None
        options: dict[str, Any] = {"pool_pre_ping": True}
        if is_sqlite:
            arguments = {"timeout": _SQLITE_BUSY_SECONDS, "factory": _SqliteConnection}
            options = {"connect_args": arguments}
        self._database = optuna.storages.RDBStorage(url, engine_kwargs=options)
        # Adds Optuna's own cache of finished trials.
        self._storage = optuna.storages.get_storage(self._database)
        self._beating: dict[int, _Heartbeat] = {}
        self._cut_off: float | None = None  # when the database was last unreachable
        if is_sqlite and wal:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_beating": {}, "_cut_off": None}  # of this process alone

    @property
    def engine(self) -> sqlalchemy.Engine:
        """SQLAlchemy's engine of the wrapped storage."""
        return self._database.engine

    def close(self) -> None:
        """Close all connections, and stop the heartbeats of this process.

        Optuna leaves that to the garbage collector, but a server has only about a hundred
        connections for all clients.
        """
        for trial_id in list(self._beating):
            self._end_heartbeat(trial_id)
        self.remove_session()
        self.engine.dispose()

    def forget_trials(self) -> None:
        """Read finished trials again: SQLite gives the ids of a deleted study to the next one."""
        self._storage = optuna.storages.get_storage(self._database)

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
                    final = error  # waiting does not help
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
        """Create a trial as Optuna does, and start its heartbeat.

        If the insert is repeated, the first row gets no heartbeat and is failed as stale.
        """
        trial_id = self._until_back(
            lambda: self._storage.create_new_trial(study_id, template_trial)
        )
        if template_trial is None:
            self._begin_heartbeat(trial_id)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a state as Optuna does; one that was written before the connection broke counts."""
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
        # A thread runs one trial at a time, so an earlier one without an end was abandoned.
        for other, earlier in list(self._beating.items()):
            if earlier.owner == threading.get_ident():
                self._end_heartbeat(other)
        self._beating[trial_id] = _Heartbeat(self, trial_id, self._heartbeat)

    def _end_heartbeat(self, trial_id: int) -> None:
        found = self._beating.pop(trial_id, None)
        if found is not None:
            found.end()

    def record_heartbeat(self, trial_id: int) -> None:
        """Write a heartbeat; a failure is only logged."""
        try:
            self._database.record_heartbeat(trial_id)
        except UNREACHABLE as error:
            self._cut_off = time.monotonic()
            # A full disk is reported by the next write, so it needs no warning here.
            level = logging.INFO if is_full(error) else logging.WARNING
            _logger.log(level, "a heartbeat could not be written: %s", unreachable_reason(error))

    def fail_stale_trials(self, study_name: str) -> None:
        """Fail a study's trials whose workers are dead, and enqueue them again."""
        if self._cut_off is not None and time.monotonic() - self._cut_off < self._grace:
            return  # other workers may not have reached the database either
        for trial in self._until_back(self._running_trials):
            if trial.study != study_name or trial.trial_id in self._beating:
                continue
            if trial.heard is None:
                # Its first heartbeat, so that it counts as dead if its worker sends no other.
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
            return  # another process has just failed it
        again = _again(self.get_trial(stale.trial_id))
        if again is not None:
            self.create_new_trial(self.get_study_id_from_name(stale.study), again)


class _Heartbeat:
    """A thread that sends heartbeats of a trial, which the creating thread runs."""

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
        """Stop, after a heartbeat that is being written."""
        self._over.set()
        self._thread.join()


def _again(trial: FrozenTrial) -> FrozenTrial | None:
    """Return a waiting copy of a dead worker's trial, without its results.

    It is ``None`` after too many repetitions, or if the trial had no parameters yet.
    """
    history = [*trial.system_attrs.get(RETRIES, []), trial.number]
    is_defaults = trial.user_attrs.get("origin") == DEFAULTS_ORIGIN
    fixed = {key: value for key, value in trial.system_attrs.items() if key == _FIXED}
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
    """Call :meth:`ReconnectingStorage.fail_stale_trials`; do nothing with other storages."""
    storage = study._storage  # Optuna has no public attribute for it
    if isinstance(storage, ReconnectingStorage):
        storage.fail_stale_trials(study.study_name)


def until_reachable(
    ask: Callable[[], _T],
    *,
    stop: Callable[[], bool] = lambda: False,
    on_message: Callable[[str], None] = lambda line: None,
    pause: Callable[[float], object] = time.sleep,
) -> _T:
    """Call a function until its database is reachable, with growing pauses.

    Args:
        stop: called before every pause; if it returns ``True``, the last error is raised.
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
    """Replace errors of a storage in the middle of the work by one line.

    Raises:
        StorageError: the database is unreachable, or fails for another reason.
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
    """Return the database's own message, in one line of at most 160 characters."""
    return one_line(database_reason(error), 160)
