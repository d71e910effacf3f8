"""Optuna's database storage, with what a trial writes in quick succession written at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["GatheringStorage"]

_LONGEST_WAIT = 1.0


class GatheringStorage(optuna.storages.RDBStorage):
    """Gathers a running trial's parameters, values and attributes.

    Optuna makes a transaction of each, some thirty a trial, and every one waits for the disk. Here
    they are written together: when the trial's state changes, when trials are read, and at the
    first write after a second's pause, so that others see how a slow trial gets on. Optuna promises
    no more: what was written before a trial's state is there when the state is.

    Whether the trial may still be written to is found out then, too.
    """

    _gathered: list[Callable[[Session], None]] | None = None
    _written_at = 0.0

    def write_gathered(self) -> None:
        """Write what was gathered, in one transaction; may be repeated when that breaks.

        Raises:
            UpdateFinishedTrialError: the trial has been ended by somebody else.
        """
        self._written_at = time.monotonic()
        pending, self._gathered = self._gathered, None
        if not pending:
            return
        try:
            # After a repeat parameters may be there already, and then everything is.
            with _create_scoped_session(self.scoped_session, True) as session:
                for write in pending:
                    write(session)
        except optuna.exceptions.StorageInternalError:
            self._gathered = pending
            raise

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        self.write_gathered()
        return super().get_trial(trial_id)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        self.write_gathered()
        return super()._get_trials(*args, **kwargs)

    def _gather(self, write: Callable[[Session], None]) -> None:
        if self._gathered is None:
            self._gathered = []
        self._gathered.append(write)
        if time.monotonic() - self._written_at > _LONGEST_WAIT:
            self.write_gathered()

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        self._gather(
            lambda session: self._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution,
                previous_distribution,
            )
        )  # fmt: skip

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Soon."""
        self._gather(
            lambda session: self._set_trial_intermediate_value_without_commit(
                session, trial_id, step, intermediate_value
            )
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Soon."""
        self._gather(
            lambda session: self._set_trial_attr_without_commit(
                session, models.TrialUserAttributeModel, trial_id, key, value
            )
        )
