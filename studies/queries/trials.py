"""Read user attributes of trials, and Pareto fronts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Connection

from explainers.errors import InvalidInput
from studies.queries.damage import decoded
from studies.results.front import Choice, FrontPoint, pareto_front
from studies.storage import connected
from studies.storage.optuna_tables import STUDIES, TRIAL_ATTRIBUTES, TRIAL_VALUES, TRIALS

__all__ = ["complete_trials", "front_in", "number_by", "trial_attributes"]

_AT_ONCE = 500  # SQLite limits the number of parameters of a query


def trial_attributes(
    connection: Connection, trial_ids: Iterable[int], names: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Return some attributes of some trials, and each trial's ``number``, by the trial's id.

    Damaged attributes are left out, and trials that have none of the attributes.
    """
    ids = list(trial_ids)
    by_trial: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        rows = connection.execute(
            sqlalchemy.select(
                TRIALS.c.trial_id, STUDIES.c.study_name, TRIALS.c.number,
                TRIAL_ATTRIBUTES.c.key, TRIAL_ATTRIBUTES.c.value_json,
            )
            .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
            .join(TRIAL_ATTRIBUTES, TRIAL_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id)
            .where(
                TRIALS.c.trial_id.in_(ids[start : start + _AT_ONCE]),
                TRIAL_ATTRIBUTES.c.key.in_(names),
            )
        )  # fmt: skip
        for trial_id, study, number, key, text in rows:
            value = decoded(text, key, "trial", f"{study} #{number}")
            if value is not None:
                by_trial.setdefault(trial_id, {"number": number})[key] = value
    return by_trial


def complete_trials(
    storage: str, studies: Sequence[str], names: Sequence[str]
) -> list[tuple[str, float, dict[str, Any]]]:
    """Return study, value and attributes of every complete trial that has all these attributes.

    The value is that of the first objective (the IoU where there are two). Oldest trials first.

    Raises:
        StorageError: the storage cannot be read.
    """
    with connected(storage) as connection:
        rows = connection.execute(
            sqlalchemy.select(TRIALS.c.trial_id, STUDIES.c.study_name, TRIAL_VALUES.c.value)
            .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
            .join(TRIAL_VALUES, TRIAL_VALUES.c.trial_id == TRIALS.c.trial_id)
            .where(
                STUDIES.c.study_name.in_(studies),
                TRIALS.c.state == "COMPLETE",
                TRIAL_VALUES.c.value.is_not(None),
                TRIAL_VALUES.c.objective == 0,
            )
            .order_by(TRIALS.c.trial_id)
        ).all()
        stored = trial_attributes(connection, [row.trial_id for row in rows], names)
    return [
        (study, value, stored[trial_id])
        for trial_id, study, value in rows
        if all(name in stored.get(trial_id, {}) for name in names)
    ]


def front_in(connection: Connection, study_id: int) -> list[FrontPoint]:
    """Return the Pareto front of a study of two objectives, fastest first.

    Attributes are read only of the trials whose values are on the front.
    """
    ious, seconds = TRIAL_VALUES.alias(), TRIAL_VALUES.alias()
    rows = connection.execute(
        sqlalchemy.select(TRIALS.c.trial_id, ious.c.value, seconds.c.value)
        .join(ious, sqlalchemy.and_(ious.c.trial_id == TRIALS.c.trial_id, ious.c.objective == 0))
        .join(
            seconds,
            sqlalchemy.and_(seconds.c.trial_id == TRIALS.c.trial_id, seconds.c.objective == 1),
        )
        .where(
            TRIALS.c.study_id == study_id,
            TRIALS.c.state == "COMPLETE",
            ious.c.value.is_not(None),
            seconds.c.value.is_not(None),
        )
    )
    by_values = pareto_front(FrontPoint(*row, 0.0) for row in rows)  # ids in place of numbers
    return pareto_front(_points(connection, [point.number for point in by_values]))


def number_by(
    choice: Choice, connection: Connection, study: str, front: Sequence[FrontPoint] | None
) -> int | None:
    """Return the number of the trial that a choice takes; ``None`` where no trial has a result.

    Args:
        front: the study's Pareto front, if it has one; otherwise all complete trials are read.

    Raises:
        InvalidInput: no trial meets the choice.
    """
    points = front
    if points is None:
        query = (
            sqlalchemy.select(TRIALS.c.trial_id)
            .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
            .where(STUDIES.c.study_name == study, TRIALS.c.state == "COMPLETE")
        )
        points = _points(connection, connection.execute(query).scalars().all())
    try:
        return choice.of(points).number if points else None
    except InvalidInput as error:
        raise InvalidInput(f"study '{study}': {error}") from error


def _points(connection: Connection, trial_ids: Sequence[int]) -> list[FrontPoint]:
    """Return the results of trials, ordered by number, without trials that have none."""
    names = ("iou", "runtime_seconds", "runtime_ratio")
    facts = trial_attributes(connection, trial_ids, (*names, "reason")).values()
    points = [
        FrontPoint(stored["number"], *(float(stored[name]) for name in names))
        for stored in facts
        if not stored.get("reason") and all(name in stored for name in names)
    ]
    return sorted(points, key=lambda point: point.number)
