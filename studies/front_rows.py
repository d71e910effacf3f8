"""The same by a few SQL queries: objectives, points and fronts of studies with many trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy

from explainers.errors import InvalidInput
from studies.damage import decoded
from studies.front import Choice, FrontPoint, pareto_front

__all__ = ["TABLES", "front_in", "number_by", "objectives_in", "points_in"]

TABLES = ("studies", "study_directions", "trials", "trial_values", "trial_user_attributes")
"""What is read."""

_POINT = ("iou", "runtime_seconds", "runtime_ratio")
_AT_ONCE = 500  # SQLite takes a limited number of parameters


def objectives_in(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int
) -> int:
    """How many objectives a study has."""
    directions = meta.tables["study_directions"]
    query = sqlalchemy.select(sqlalchemy.func.count()).where(directions.c.study_id == study_id)
    return int(connection.execute(query).scalar_one())


def front_in(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int
) -> list[FrontPoint]:
    """The Pareto front of a study of two objectives, fastest first.

    Its values say who is on it; only of these are attributes read.
    """
    trials, values = meta.tables["trials"], meta.tables["trial_values"]
    ious, seconds = values.alias(), values.alias()
    rows = connection.execute(
        sqlalchemy.select(trials.c.trial_id, trials.c.number, ious.c.value, seconds.c.value)
        .join(ious, sqlalchemy.and_(ious.c.trial_id == trials.c.trial_id, ious.c.objective == 0))
        .join(
            seconds,
            sqlalchemy.and_(seconds.c.trial_id == trials.c.trial_id, seconds.c.objective == 1),
        )
        .where(
            trials.c.study_id == study_id,
            trials.c.state == "COMPLETE",
            ious.c.value.is_not(None),
            seconds.c.value.is_not(None),
        )
    )
    identities, points = {}, []
    for trial_id, number, iou, runtime in rows:
        identities[number] = trial_id
        points.append(FrontPoint(number, float(iou), float(runtime), 0.0))
    wanted = [identities[point.number] for point in pareto_front(points)]
    return pareto_front(_points(connection, meta, wanted))


def points_in(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int
) -> list[FrontPoint]:
    """All complete trials of a study that found something, by number."""
    trials = meta.tables["trials"]
    query = sqlalchemy.select(trials.c.trial_id).where(
        trials.c.study_id == study_id, trials.c.state == "COMPLETE"
    )
    return _points(connection, meta, list(connection.execute(query).scalars()))


def number_by(
    choice: Choice,
    connection: sqlalchemy.Connection,
    meta: sqlalchemy.MetaData,
    study: str,
    front: Sequence[FrontPoint] | None,
) -> int | None:
    """The number of a study's trial that is chosen; ``None`` where no trial found anything.

    Args:
        front: of the study, where it has one; all its trials are looked at otherwise.

    Raises:
        InvalidInput: none of them will do.
    """
    points = front
    if points is None:
        studies = meta.tables["studies"]
        query = sqlalchemy.select(studies.c.study_id).where(studies.c.study_name == study)
        points = points_in(connection, meta, connection.execute(query).scalar_one())
    try:
        return choice.of(points).number if points else None
    except InvalidInput as error:
        raise InvalidInput(f"study '{study}': {error}") from error


def _points(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, wanted: Iterable[int]
) -> list[FrontPoint]:
    trials, attributes = meta.tables["trials"], meta.tables["trial_user_attributes"]
    ids = list(wanted)
    found: dict[int, dict[str, object]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        rows = connection.execute(
            sqlalchemy.select(trials.c.number, attributes.c.key, attributes.c.value_json)
            .join(attributes, attributes.c.trial_id == trials.c.trial_id)
            .where(
                trials.c.trial_id.in_(ids[start : start + _AT_ONCE]),
                attributes.c.key.in_((*_POINT, "reason")),
            )
        )
        for number, key, value in rows:
            known = decoded(value, key, "trial", f"trial {number}")
            if known is not None:
                found.setdefault(number, {})[key] = known
    return [
        FrontPoint(number, *(float(str(facts[name])) for name in _POINT))
        for number, facts in sorted(found.items())
        if "reason" not in facts and all(name in facts for name in _POINT)
    ]
