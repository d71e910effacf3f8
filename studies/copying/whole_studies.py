"""Read, compare and write complete studies by Optuna's storage interface.

Optuna's own ``copy_study`` is not enough: interrupted, it leaves half a study; running trials stay
running for ever; and it does not change the paths in the dashboard's notes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from explainers.errors import StorageError
from studies.copying.dashboard_paths import RowNumbers, renumbered
from studies.storage import connected, database_reason, describe, grace_seconds
from studies.storage.optuna_tables import STUDIES, running_trials

__all__ = ["WholeStudy", "check_at_rest", "read_study", "study_names", "write_study"]

# Prefix of the name of a study that is being written, so that no command takes it for the study.
# Its attributes, which workers read, are written last.
_UNFINISHED = "(unfinished copy) "
_NOT_TAKEN = (
    optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError,
    ValueError,  # JSON that the database truncated
)  # fmt: skip
_ARTIFACT = "artifacts:"  # prefix of the system attributes that describe a file


@dataclass(frozen=True)
class WholeStudy:
    """Everything that a storage holds about a study.

    Attributes:
        user_attrs, system_attrs: of the study, with ``numbers`` in place of row numbers.
        trials: in the order of their numbers.
        running: the trials that are running, also where ``trials`` has them as failed.
        numbers: independent of the database: 0 for the study, and each trial's own number.
    """

    name: str
    directions: Sequence[StudyDirection]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    running: Sequence[FrozenTrial]
    numbers: RowNumbers

    @property
    def states(self) -> dict[str, int]:
        """Number of trials in each state."""
        return dict(sorted(Counter(trial.state.name for trial in self.trials).items()))

    @cached_property
    def sha256(self) -> str:
        """Digest of everything except the name; equal studies have equal ones in any database."""
        digest = hashlib.sha256()
        for each in ([direction.name for direction in self.directions], self.user_attrs,
                     self.system_attrs, *map(_facts, self.trials)):  # fmt: skip
            digest.update(json.dumps(each, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()


def _facts(trial: FrozenTrial) -> list[Any]:
    """List everything that a trial holds; parameters in the order of their suggestion."""
    return [
        trial.number,
        trial.state.name,
        *[time and time.astimezone(timezone.utc).isoformat()
          for time in (trial.datetime_start, trial.datetime_complete)],
        [_number(value) for value in trial.values or ()],
        [(name, _number(value), distribution_to_json(trial.distributions[name]))
         for name, value in trial.params.items()],
        {step: _number(value) for step, value in trial.intermediate_values.items()},
        trial.user_attrs,
        trial.system_attrs,
    ]  # fmt: skip


def _number(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value  # few databases store -0.0


def study_names(storage: BaseStorage | None, prefix: str | None = None) -> list[str]:
    """List the names of all studies, or of those named ``PREFIX`` or ``PREFIX/...``, oldest first.

    Unfinished copies are left out.
    """
    return [
        name
        for name in ([] if storage is None else optuna.get_all_study_names(storage))
        if not name.startswith(_UNFINISHED)
        and (prefix is None or name == prefix or name.startswith(f"{prefix}/"))
    ]


def read_study(
    storage: BaseStorage, name: str, *, whole_seconds: bool, settle: bool = False
) -> WholeStudy:
    """Read a complete study.

    Args:
        whole_seconds: cut times to the second, as MariaDB does; MySQL rounds them.
        settle: return running trials as failed; they end at their start, as the end is unknown.
    """
    key = storage.get_study_id_from_name(name)
    trials = storage.get_all_trials(key)
    system_attrs = storage.get_study_system_attrs(key)
    owners: dict[str, int | None] = dict.fromkeys(_artifacts(system_attrs))
    running = []
    for trial in trials:
        owners |= dict.fromkeys(_artifacts(trial.system_attrs), trial.number)
        if trial.state == TrialState.RUNNING:
            running.append(trial)
            if settle:
                trial.state, trial.datetime_complete = TrialState.FAIL, trial.datetime_start
        for end in ("datetime_start", "datetime_complete"):
            time = getattr(trial, end)
            if whole_seconds and time is not None:
                setattr(trial, end, time.replace(microsecond=0))
    rows = RowNumbers(key, {trial.number: trial._trial_id for trial in trials}, owners)
    plain = RowNumbers(0, {number: number for number in rows.trials}, owners)
    return WholeStudy(
        name,
        storage.get_study_directions(key),
        renumbered(storage.get_study_user_attrs(key), rows, plain),
        renumbered(system_attrs, rows, plain),
        trials,
        running,
        plain,
    )


def check_at_rest(url: str, study: WholeStudy) -> None:
    """Check that no worker is on a study that was just read.

    Raises:
        StorageError: a running trial had a heartbeat within ``grace_seconds()``, or has had none
            and began within that time.
    """
    if not study.running:
        return
    with connected(url) as connection:
        heard = {(each.study, each.number): each.heard for each in running_trials(connection)}
    for trial in study.running:
        age = heard.get((study.name, trial.number), 0.0)  # 0 when it has ended since
        if age is None and trial.datetime_start is not None:
            age = (datetime.now().astimezone() - trial.datetime_start.astimezone()).total_seconds()
        if age is not None and age <= grace_seconds():
            raise StorageError(
                f"study '{study.name}' in {describe(url)} is at work (trial {trial.number}): stop "
                f"it, wait {grace_seconds()} seconds, and copy again; nothing was copied"
            )


def _artifacts(attributes: Mapping[str, Any]) -> list[str]:
    return [name[len(_ARTIFACT) :] for name in attributes if name.startswith(_ARTIFACT)]


def write_study(
    storage: BaseStorage,
    url: str,
    study: WholeStudy,
    *,
    whole_seconds: bool,
    on_progress: Callable[[int], None],
) -> None:
    """Write a study under a temporary name, read it back, compare, and rename it.

    A study that an interrupted call left is deleted first. A study that already has the name is
    deleted just before the renaming.

    Args:
        url: of the storage.
        whole_seconds: see :func:`read_study`.
        on_progress: called with the number of trials written so far.

    Raises:
        StorageError: the database refuses it, or it does not read the same.
    """
    unfinished = f"{_UNFINISHED}{study.name}"
    _delete(storage, unfinished)
    try:
        _write(storage, unfinished, study, on_progress)
        arrived = read_study(storage, unfinished, whole_seconds=whole_seconds)
        if arrived.sha256 != study.sha256:
            raise StorageError(
                f"study '{study.name}' does not read the same in the target: it was not copied, "
                "the source is as it was; does the target's database cut texts or round numbers?"
            )
    except BaseException as error:
        _delete(storage, unfinished)
        if isinstance(error, _NOT_TAKEN):
            raise StorageError(
                f"storage {describe(url)} cannot take study '{study.name}' "
                f"({database_reason(error)}): it was not copied, the source is as it was"
            ) from error
        raise
    _delete(storage, study.name)
    # Optuna's interface cannot rename a study.
    with connected(url) as connection:
        rename = sqlalchemy.update(STUDIES).where(STUDIES.c.study_name == unfinished)
        connection.execute(rename.values({STUDIES.c.study_name: study.name}))
        connection.commit()


def _delete(storage: BaseStorage, name: str) -> None:
    try:
        key = storage.get_study_id_from_name(name)
    except KeyError:
        return
    storage.delete_study(key)


def _write(
    storage: BaseStorage, name: str, study: WholeStudy, on_progress: Callable[[int], None]
) -> None:
    key = storage.create_new_study(study.directions, name)
    rows: dict[int, int] = {}
    for trial in study.trials:
        on_progress(len(rows))
        rows[trial.number] = storage.create_new_trial(key, template_trial=trial)
    numbers = RowNumbers(key, rows, study.numbers.owners)
    for attribute, value in renumbered(study.system_attrs, study.numbers, numbers).items():
        storage.set_study_system_attr(key, attribute, value)
    for attribute, value in renumbered(study.user_attrs, study.numbers, numbers).items():
        storage.set_study_user_attr(key, attribute, value)
