"""What every study of a storage has, by a few SQL queries instead of loading all trials.

Optuna's own ``get_all_study_summaries`` and ``get_trials`` read everything; a status line must
not. Only tables that Optuna documents in its schema are read, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy

from explainers.masks import stored_coverage
from explainers.metrics import Faithfulness
from studies.attributes import DEFAULTS_ORIGIN, RETRIES
from studies.best_trial import weight_of
from studies.damage import decoded
from studies.explained_class import CLASS_ATTRIBUTES, ExplainedClass
from studies.front import ByWeight, Choice, FrontPoint
from studies.front_rows import TABLES, front_in, number_by, objectives_in
from studies.runtime_doubt import runtime_doubt
from studies.storage import check_storage, opened_tables

__all__ = [
    "StudyOverview", "best_parameters", "overview", "reliability_of", "study_attributes",
]  # fmt: skip


@dataclass(frozen=True)
class StudyOverview:
    """One study in one line.

    Attributes:
        trials: by state name (``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING``, ``WAITING``).
        default_iou, default_seconds: of lime's own defaults; ``None`` before that trial is done.
        best_number: number of the best complete trial; with two objectives that which the study's
            runtime weight chooses.
        last_activity: UTC, when the last trial ended.
        reliability: of the study's reference, in [0, 1]; ``None`` for masks that were not judged.
        coverage: the share of the picture that the reference covers, in [0, 1]; ``None`` where
            the study keeps no mask.
        front: of a study with two objectives, fastest first; ``None`` where there is one.
        lost: whether the next trial in line is one that a dead worker has left.
        best_faithful, default_faithful: of a study without a reference.
        runtime_doubt: why its modelled seconds are not to be trusted.
        explained: the class; ``None`` of a catalogue's study.
    """

    study: str
    trials: dict[str, int]
    best_number: int | None
    best_score: float | None
    best_iou: float | None
    best_seconds: float | None
    best_ratio: float | None
    default_iou: float | None
    default_seconds: float | None
    last_activity: datetime | None
    reliability: float | None = None
    coverage: float | None = None
    front: tuple[FrontPoint, ...] | None = None
    lost: bool = False
    best_faithful: Faithfulness | None = None
    default_faithful: Faithfulness | None = None
    runtime_doubt: str | None = None
    explained: ExplainedClass | None = None

    @property
    def finished(self) -> int:
        """Trials with a result."""
        return self.trials.get("COMPLETE", 0) + self.trials.get("PRUNED", 0)


def overview(storage: str, prefix: str | None) -> list[StudyOverview]:
    """All studies of a storage, or those named ``PREFIX/...``, by name.

    Raises:
        StorageError: the storage does not exist, or is not ours.
    """
    check_storage(storage, write=False)
    wanted = [*TABLES, "study_user_attributes", "trial_system_attributes"]
    with opened_tables(storage, wanted) as (connection, meta):
        studies = meta.tables["studies"]
        query = sqlalchemy.select(studies.c.study_id, studies.c.study_name)
        return [
            _one(connection, meta, study_id, name)
            for study_id, name in connection.execute(query.order_by(studies.c.study_id))
            if prefix is None or name == prefix or name.startswith(f"{prefix}/")
        ]


def _one(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int, name: str
) -> StudyOverview:
    trials = meta.tables["trials"]
    mine = trials.c.study_id == study_id
    counts = {
        str(getattr(state, "name", state)): count
        for state, count in connection.execute(
            sqlalchemy.select(trials.c.state, sqlalchemy.func.count())
            .where(mine)
            .group_by(trials.c.state)
        )
    }
    front = None
    if objectives_in(connection, meta, study_id) > 1:
        front = tuple(front_in(connection, meta, study_id))
        number, score, found = _chosen(connection, meta, (study_id, name), front)
    else:
        number, score, found = _best(connection, meta, study_id, name)
    default = connection.execute(
        sqlalchemy.select(trials.c.trial_id, trials.c.number)
        .join(
            meta.tables["trial_user_attributes"],
            meta.tables["trial_user_attributes"].c.trial_id == trials.c.trial_id,
        )
        .where(
            mine,
            trials.c.state == "COMPLETE",
            meta.tables["trial_user_attributes"].c.key == "origin",
            meta.tables["trial_user_attributes"].c.value_json == json.dumps(DEFAULTS_ORIGIN),
        )
        .limit(1)
    ).first()
    last = connection.execute(
        sqlalchemy.select(sqlalchemy.func.max(trials.c.datetime_complete)).where(mine)
    ).scalar()
    reference = _study_attribute(connection, meta, (study_id, name), "reference")
    usual = {}
    if default is not None:
        usual = _trial_attributes(connection, meta, default.trial_id, f"{name} #{default.number}")
    return StudyOverview(
        study=name,
        trials=counts,
        best_number=number,
        best_score=score,
        best_iou=found.get("iou"),
        best_seconds=found.get("runtime_seconds"),
        best_ratio=found.get("runtime_ratio"),
        default_iou=usual.get("iou"),
        default_seconds=usual.get("runtime_seconds"),
        last_activity=last,
        reliability=reliability_of(reference),
        coverage=stored_coverage(reference),
        front=front,
        lost=bool(counts.get("WAITING")) and _is_lost(connection, meta, study_id),
        best_faithful=_faithful(found),
        default_faithful=_faithful(usual),
        runtime_doubt=runtime_doubt(
            _study_attribute(connection, meta, (study_id, name), "runtime_model")
        ),
        explained=ExplainedClass.of(
            _study_attributes(connection, meta, (study_id, name), CLASS_ATTRIBUTES)
        ),
    )


def _faithful(attributes: Mapping[str, Any]) -> Faithfulness | None:
    found = attributes.get("faithful")
    return None if found is None else Faithfulness.from_json(found)


def _is_lost(connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int) -> bool:
    """Whether the first trial that waits was begun before."""
    trials, attributes = meta.tables["trials"], meta.tables["trial_system_attributes"]
    first = (
        sqlalchemy.select(sqlalchemy.func.min(trials.c.trial_id))
        .where(trials.c.study_id == study_id, trials.c.state == "WAITING")
        .scalar_subquery()
    )
    found = sqlalchemy.select(attributes.c.key).where(
        attributes.c.trial_id == first, attributes.c.key == RETRIES
    )
    return connection.execute(found).first() is not None


_Found = tuple[int | None, float | None, dict[str, Any]]


def _best(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study_id: int, name: str
) -> _Found:
    """Number, score and attributes of the best trial of one objective."""
    trials, values = meta.tables["trials"], meta.tables["trial_values"]
    best = connection.execute(
        sqlalchemy.select(trials.c.trial_id, trials.c.number, values.c.value)
        .join(values, values.c.trial_id == trials.c.trial_id)
        .where(
            trials.c.study_id == study_id,
            trials.c.state == "COMPLETE",
            values.c.value.is_not(None),
        )
        .order_by(values.c.value.desc(), trials.c.number)
        .limit(1)
    ).first()
    if best is None:
        return None, None, {}
    attributes = _trial_attributes(connection, meta, best.trial_id, f"{name} #{best.number}")
    return int(best.number), float(best.value), attributes


def _chosen(
    connection: sqlalchemy.Connection,
    meta: sqlalchemy.MetaData,
    study: tuple[int, str],
    front: tuple[FrontPoint, ...],
) -> _Found:
    """The same of two objectives, by the study's own runtime weight."""
    if not front:
        return None, None, {}
    weight = _study_attribute(connection, meta, study, "runtime_weight")
    own = ByWeight(weight_of({} if weight is None else {"runtime_weight": weight}))
    chosen = own.of(front)
    return chosen.number, chosen.score(own.weight), asdict(chosen)


def reliability_of(reference: dict[str, Any] | None) -> float | None:
    """The score in a study's attribute ``reference``, where the mask was judged."""
    judged = (reference or {}).get("reliability")
    return None if judged is None else float(judged["score"])


def _study_attribute(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, study: tuple[int, str], key: str
) -> Any:
    """Of a study by id and name; ``None`` where it has none of that name."""
    return _study_attributes(connection, meta, study, (key,)).get(key)


def _study_attributes(
    connection: sqlalchemy.Connection,
    meta: sqlalchemy.MetaData,
    study: tuple[int, str],
    keys: Sequence[str],
) -> dict[str, Any]:
    """Those that the study has."""
    attributes = meta.tables["study_user_attributes"]
    rows = connection.execute(
        sqlalchemy.select(attributes.c.key, attributes.c.value_json).where(
            attributes.c.study_id == study[0], attributes.c.key.in_(keys)
        )
    )
    return {key: decoded(value, key, "study", study[1]) for key, value in rows}


def _trial_attributes(
    connection: sqlalchemy.Connection, meta: sqlalchemy.MetaData, trial_id: int, where: str
) -> dict[str, Any]:
    """Those of a trial that are read here; damaged ones are left out."""
    attributes = meta.tables["trial_user_attributes"]
    wanted = ("iou", "runtime_seconds", "runtime_ratio", "lime_parameters", "faithful")
    rows = connection.execute(
        sqlalchemy.select(attributes.c.key, attributes.c.value_json).where(
            attributes.c.trial_id == trial_id, attributes.c.key.in_(wanted)
        )
    )
    found = {key: decoded(value, key, "trial", where) for key, value in rows}
    return {key: value for key, value in found.items() if value is not None}


def best_parameters(storage: str, prefix: str, choice: Choice | None = None) -> dict[str, str]:
    """``lime_parameters`` (JSON text) of the best trial of each study ``PREFIX/KEY``, by key.

    Args:
        choice: what is best, of all complete trials; ``None`` goes by each study's own score.

    Raises:
        InvalidInput: no trial of a study will do.
    """
    rows = [row for row in overview(storage, prefix) if row.best_number is not None]
    with opened_tables(storage, TABLES) as (connection, meta):
        studies, trials = meta.tables["studies"], meta.tables["trials"]
        found = {}
        for row in rows:
            number = row.best_number
            if choice is not None:
                number = number_by(choice, connection, meta, row.study, row.front)
            if number is None:
                continue
            trial_id = connection.execute(
                sqlalchemy.select(trials.c.trial_id)
                .join(studies, studies.c.study_id == trials.c.study_id)
                .where(studies.c.study_name == row.study, trials.c.number == number)
            ).scalar_one()
            where = f"{row.study} #{number}"
            attributes = _trial_attributes(connection, meta, trial_id, where)
            if "lime_parameters" in attributes:
                found[row.study[len(prefix) + 1 :]] = attributes["lime_parameters"]
    return found


def study_attributes(storage: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """User attributes of some studies, by study name; those that do not exist are left out."""
    check_storage(storage, write=False)
    with opened_tables(storage, ["studies", "study_user_attributes"]) as (connection, meta):
        studies, attributes = meta.tables["studies"], meta.tables["study_user_attributes"]
        rows = connection.execute(
            sqlalchemy.select(studies.c.study_name, attributes.c.key, attributes.c.value_json)
            .join(attributes, attributes.c.study_id == studies.c.study_id)
            .where(studies.c.study_name.in_(list(names)))
        )
        found: dict[str, dict[str, Any]] = {}
        for name, key, value in rows:
            found.setdefault(name, {})[key] = decoded(value, key, "study", name)
    return found
