"""Optuna's database storage, with what a trial writes in quick succession written at once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import mysql, postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["GatheringStorage"]

_LONGEST_WAIT = 1.0
_Parameter = tuple[float, BaseDistribution, BaseDistribution | None]


@dataclass
class _Gathered:
    """What a trial has to be told; the last word counts.

    Attributes:
        parameters: by name, as Optuna stores them, with the distribution they are drawn from and
            the one that the study is known to have used before.
        values: by step. attributes: by key.
    """

    parameters: dict[str, _Parameter] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


class GatheringStorage(optuna.storages.RDBStorage):
    """Gathers a running trial's parameters, values and attributes.

    Optuna makes a transaction of each, some thirty a trial, and every one waits for the disk. Here
    they are written together: when the trial's state changes, when trials are read, and at the
    first write after a second's pause, so that others see how a slow trial gets on. Optuna promises
    no more: what was written before a trial's state is there when the state is.

    Whether the trial may still be written to is found out then, too.
    """

    _gathered: dict[int, _Gathered] | None = None
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
                for trial_id, gathered in pending.items():
                    self._write(session, trial_id, gathered)
        except optuna.exceptions.StorageInternalError:
            self._gathered = pending
            raise

    def _write(self, session: Session, trial_id: int, gathered: _Gathered) -> None:
        trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
        self.check_trial_is_updatable(trial_id, trial.state)
        for name, (value, distribution, before) in gathered.parameters.items():
            known = before or _distribution(session, trial.study_id, name)
            if known is not None:
                optuna.distributions.check_distribution_compatibility(known, distribution)
            text = optuna.distributions.distribution_to_json(distribution)
            session.add(
                models.TrialParamModel(
                    trial_id=trial_id, param_name=name, param_value=value, distribution_json=text
                )
            )
        if gathered.values:
            model = models.TrialIntermediateValueModel
            known_steps: dict[int, Any] = {
                int(row.step): row
                for row in session.query(model).filter(model.trial_id == trial_id)
            }
            for step, value in gathered.values.items():
                row = known_steps.get(step)
                if row is None:
                    row = model(trial_id=trial_id, step=step)
                    session.add(row)
                row.intermediate_value, row.intermediate_value_type = (
                    model.intermediate_value_to_stored_repr(value)
                )
        if gathered.attributes:
            self._write_attributes(session, trial_id, gathered.attributes)

    def _write_attributes(
        self, session: Session, trial_id: int, attributes: dict[str, Any]
    ) -> None:
        """New ones, and those that are there already."""
        model = models.TrialUserAttributeModel
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ]
        if self.engine.name in ("mysql", "mariadb"):
            made = mysql.insert(model).values(rows)
            session.execute(made.on_duplicate_key_update(value_json=made.inserted.value_json))
            return
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.name]
        found = insert(model).values(rows)
        session.execute(
            found.on_conflict_do_update(
                index_elements=[model.trial_id, model.key],
                set_={"value_json": found.excluded.value_json},
            )
        )

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        self.write_gathered()
        return super().get_trial(trial_id)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        self.write_gathered()
        return super()._get_trials(*args, **kwargs)

    def _get_best_trial_id(self, *args: Any, **kwargs: Any) -> int:
        # Asked for by a trial that knows its parameters and sets to work on them: should its worker
        # be killed, others know what to try again.
        self.write_gathered()
        return super()._get_best_trial_id(*args, **kwargs)

    def _gathered_of(self, trial_id: int) -> _Gathered:
        if self._gathered is None:
            self._gathered = {}
        return self._gathered.setdefault(trial_id, _Gathered())

    def _written_soon(self) -> None:
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
        self._gathered_of(trial_id).parameters[param_name] = (
            param_value_internal, distribution, previous_distribution,
        )  # fmt: skip
        self._written_soon()

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Soon."""
        self._gathered_of(trial_id).values[step] = intermediate_value
        self._written_soon()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Soon.

        Raises:
            TypeError: no JSON value.
        """
        json.dumps(value)
        self._gathered_of(trial_id).attributes[key] = value
        self._written_soon()


def _distribution(session: Session, study_id: int, name: str) -> BaseDistribution | None:
    """What the study has drawn that parameter from."""
    model = models.TrialParamModel
    found = (
        session.query(model)
        .join(models.TrialModel)
        .filter(models.TrialModel.study_id == study_id, model.param_name == name)
        .first()
    )
    if found is None:
        return None
    return optuna.distributions.json_to_distribution(str(found.distribution_json))
