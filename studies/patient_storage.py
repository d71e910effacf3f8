"""Optuna's database storage, for databases that are restarted and workers that are killed."""

from __future__ import annotations

import functools
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import StorageAway, StorageError
from explainers.messages import one_line
from studies import study_creation
from studies.attributes import DEFAULTS_ORIGIN, FAILURE, RETRIES, WORKER
from studies.full_disk import is_full
from studies.gathering_storage import GatheringStorage
from studies.storage import database_reason, describe, is_away, trouble_of

__all__ = [
    "UNREACHABLE", "PatientStorage", "again_elsewhere", "bury_dead", "trouble_told",
    "unreachable_reason", "until_reachable",
]  # fmt: skip

UNREACHABLE = (
    optuna.exceptions.StorageInternalError, sqlalchemy.exc.DBAPIError,
    sqlalchemy.exc.TimeoutError, StorageAway,
)  # fmt: skip
"""What a call of a storage raises while its database is away."""

_MOST_RETRIES = 3
_FIXED = "fixed_params"  # Optuna's, too: what an enqueued trial shall try
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_PATIENCE_SECONDS = 900.0
_QUICK_PROPOSAL_SECONDS = 1.0
_NEVER_BEATEN = sqlalchemy.text(
    "SELECT trials.trial_id FROM trials "
    "LEFT JOIN trial_heartbeats ON trial_heartbeats.trial_id = trials.trial_id "
    "WHERE trials.study_id = :study AND trials.state = 'RUNNING' "
    "AND trial_heartbeats.trial_id IS NULL"
)
_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _waiting(
    method: Callable[Concatenate[PatientStorage, _P], _T],
) -> Callable[Concatenate[PatientStorage, _P], _T]:
    """The same method, asked again while the database is away.

    Only for what may be done twice: whether the last words before a connection broke were heard
    is not known.
    """

    def patient(self: PatientStorage, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._until_back(lambda: method(self, *args, **kwargs))

    functools.update_wrapper(patient, method)
    return patient


class PatientStorage(GatheringStorage):
    """Waits for a server that is away, and knows which trials are alive.

    Optuna's own storage raises in the middle of a trial, which is then lost with all that it
    found, and its loop cannot tell a trial's end while the database is away.

    Heartbeats: Optuna begins with them when a sampler has proposed something, and thinks a trial
    that has none alive for ever. Here they begin when that takes a while, and are sent on behalf
    of a trial that has none, so that it is found dead when nobody goes on with them.
    """

    _cut_off: float | None = None  # when this process last found the database away
    _proposing: tuple[int, threading.Event] | None = None

    def close(self) -> None:
        """Let go of the database; Optuna leaves that to the garbage collector.

        A server has a hundred connections or so for everybody.
        """
        self._proposed()
        self.remove_session()
        self.engine.dispose()

    def _until_back(self, ask: Callable[[], _T]) -> _T:
        deadline = time.monotonic() + _PATIENCE_SECONDS

        def tried() -> _T:
            try:
                return ask()
            except UNREACHABLE as error:
                if not is_away(error):
                    raise _Final(error) from error
                self._cut_off = time.monotonic()
                raise

        try:
            return until_reachable(
                tried, stop=lambda: time.monotonic() > deadline, told=_logger.warning
            )
        except _Final as final:
            raise final.error from final.error.__cause__

    create_new_study = _waiting(optuna.storages.RDBStorage.create_new_study)
    # Written twice, the second time finds what the first has written.
    create_whole_study = _waiting(study_creation.create_whole_study)
    add_study_attributes = _waiting(study_creation.add_study_attributes)
    set_study_user_attr = _waiting(optuna.storages.RDBStorage.set_study_user_attr)
    set_study_system_attr = _waiting(optuna.storages.RDBStorage.set_study_system_attr)
    get_study_id_from_name = _waiting(optuna.storages.RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _waiting(optuna.storages.RDBStorage.get_study_name_from_id)
    get_study_directions = _waiting(optuna.storages.RDBStorage.get_study_directions)
    get_study_user_attrs = _waiting(optuna.storages.RDBStorage.get_study_user_attrs)
    get_study_system_attrs = _waiting(optuna.storages.RDBStorage.get_study_system_attrs)
    get_all_studies = _waiting(optuna.storages.RDBStorage.get_all_studies)
    get_trial = _waiting(GatheringStorage.get_trial)
    set_trial_system_attr = _waiting(optuna.storages.RDBStorage.set_trial_system_attr)
    write_gathered = _waiting(GatheringStorage.write_gathered)
    # Optuna's cache, which every study puts before its storage, calls these by their inner names.
    _get_trials = _waiting(GatheringStorage._get_trials)
    _get_best_trial_id = _waiting(GatheringStorage._get_best_trial_id)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        # Written twice, the first one is never heard of again, and found dead.
        made = self._until_back(
            lambda: super(PatientStorage, self)._create_new_trial(study_id, template_trial)
        )
        if made.state == TrialState.RUNNING:
            self._propose(made._trial_id)
        return made

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; a state that was written before a connection broke counts as written."""
        self.write_gathered()
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                if attempts > 1 and self.get_trial(trial_id).state == state:
                    return True
                raise

        done = self._until_back(attempt)
        if done and state == TrialState.RUNNING:
            self._propose(trial_id)
        elif self._proposing is not None and self._proposing[0] == trial_id:
            self._proposed()  # ended before Optuna's heartbeats began
        return done

    def record_heartbeat(self, trial_id: int) -> None:
        """Write it, or let it be until next time."""
        if self._proposing is not None and self._proposing[0] == trial_id:
            self._proposed()  # Optuna's own thread has begun
        self._beat(trial_id)

    def _proposed(self) -> None:
        """No heartbeats from here any more."""
        if self._proposing is not None:
            self._proposing[1].set()
            self._proposing = None

    def _propose(self, trial_id: int) -> None:
        """Send heartbeats for a trial that was begun, until Optuna does."""
        self._proposed()
        over = threading.Event()
        self._proposing = (trial_id, over)
        interval = self.heartbeat_interval
        if interval is None:
            return

        def keep_beating() -> None:
            pause = min(_QUICK_PROPOSAL_SECONDS, interval)
            while not over.wait(pause):
                self._beat(trial_id)
                pause = interval

        threading.Thread(target=keep_beating, name="heartbeat", daemon=True).start()

    def _beat(self, trial_id: int) -> None:
        try:
            super().record_heartbeat(trial_id)
        except UNREACHABLE as error:
            self._cut_off = time.monotonic()
            # A full disk is told by whoever writes next.
            level = logging.INFO if is_full(error) else logging.WARNING
            _logger.log(level, "a heartbeat could not be written: %s", unreachable_reason(error))

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return self._until_back(lambda: self._stale(study_id))

    def _stale(self, study_id: int) -> list[int]:
        grace = self.grace_period or 0
        if self._cut_off is not None and time.monotonic() - self._cut_off < grace:
            return []  # who was cut off, too, has not heard the others
        with self.engine.connect() as connection:
            unheard = connection.execute(_NEVER_BEATEN, {"study": study_id}).scalars().all()
        for trial_id in unheard:
            self._beat(trial_id)
        return [each for each in super()._get_stale_trial_ids(study_id) if self._is_told(each)]

    def _is_told(self, trial_id: int) -> bool:
        """Write why a trial is about to be failed; ``False`` when somebody else just did it."""
        who = self.get_trial(trial_id).user_attrs.get(WORKER, "its worker")
        try:
            self.set_trial_user_attr(
                trial_id, FAILURE, f"{who} gave no sign of life for {self.grace_period} s"
            )
            self.write_gathered()
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True


class _Final(Exception):
    """Carries an error that no waiting helps against."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def again_elsewhere(study: optuna.Study, trial: FrozenTrial) -> None:
    """Let what a dead worker has left be tried again, by whoever is next.

    What it had found so far is left behind; a trial that dies every time is given up.
    """
    history = [*trial.system_attrs.get(RETRIES, []), trial.number]
    is_defaults = trial.user_attrs.get("origin") == DEFAULTS_ORIGIN
    # One that died before it was known what it tries is not missed.
    known = trial.params or trial.system_attrs.get(_FIXED) or is_defaults
    if len(history) > _MOST_RETRIES or not known:
        return
    kept = ("origin", "lime_parameters") if is_defaults else ("origin",)
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={k: v for k, v in trial.user_attrs.items() if k in kept},
            system_attrs={"failed_trial": history[0], RETRIES: history, **_fixed(trial)},
        )
    )


def bury_dead(storage: PatientStorage, names: Iterable[str]) -> None:
    """Fail the trials of some studies whose workers are dead, so that they are tried again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for name in names:
            optuna.storages.fail_stale_trials(optuna.load_study(study_name=name, storage=storage))


def _fixed(trial: FrozenTrial) -> dict[str, Any]:
    fixed = trial.system_attrs.get(_FIXED)
    return {} if fixed is None else {_FIXED: fixed}


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
