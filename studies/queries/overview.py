"""Summaries of the studies of a storage."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection

from explainers.masks import stored_coverage
from explainers.metrics import Faithfulness
from studies.queries.damage import decoded
from studies.queries.trials import front_in, number_by, trial_attributes
from studies.results.attributes import DEFAULTS_ORIGIN, FIDELITY, PENALTY, RETRIES
from studies.results.best_trial import weight_of
from studies.results.explained_class import CLASS_ATTRIBUTES, ExplainedClass
from studies.results.fidelity import Fidelity, is_compromise
from studies.results.front import ByWeight, Choice, FrontPoint
from studies.results.runtime_doubt import runtime_doubt
from studies.storage import check_storage, connected
from studies.storage.optuna_tables import (
    STUDIES,
    STUDY_ATTRIBUTES,
    STUDY_DIRECTIONS,
    TRIAL_ATTRIBUTES,
    TRIAL_SYSTEM_ATTRIBUTES,
    TRIAL_VALUES,
    TRIALS,
    attribute_of,
)

__all__ = [
    "StudyOverview", "best_parameters", "overview", "reliability_of", "study_attributes",
    "study_names",
]  # fmt: skip

_SHOWN = ("reference", "runtime_model", "runtime_weight", *CLASS_ATTRIBUTES)


@dataclass(frozen=True)
class StudyOverview:
    """Summary of one study.

    Attributes:
        trials: number by state (``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING``, ``WAITING``).
        best_number: number of the best complete trial; with two objectives, of the one that the
            study's runtime weight chooses.
        best_seconds: of one explanation by the runtime model.
        best_ratio: ``best_seconds`` relative to lime's defaults.
        default_iou, default_seconds: of lime's own defaults; ``None`` before that trial is done.
        last_activity: UTC, when the last trial ended.
        reliability: of the study's reference, in [0, 1]; ``None`` where it was not estimated.
        coverage: the share of the picture that the reference covers, in [0, 1]; ``None`` where
            the study stores no mask.
        front: Pareto front of a study with two objectives, fastest first; ``None`` with one.
        lost: whether the next waiting trial is a repetition of one whose worker died.
        best_faithful, default_faithful: of a study that is scored by faithfulness.
        best_fidelity, default_fidelity: where the study measured them.
        compromise: whether the best explains less than the study's constraint allows.
        runtime_doubt: why its modelled seconds should not be trusted; ``None`` if they can be.
        explained: the explained class; ``None`` for a catalogue's study.
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
    best_fidelity: Fidelity | None = None
    default_fidelity: Fidelity | None = None
    compromise: bool = False
    runtime_doubt: str | None = None
    explained: ExplainedClass | None = None

    @property
    def finished(self) -> int:
        """Number of trials with a result, including the pruned ones."""
        return self.trials.get("COMPLETE", 0) + self.trials.get("PRUNED", 0)


def overview(
    storage: str, prefix: str | None, *, only: Collection[str] | None = None
) -> list[StudyOverview]:
    """All studies of a storage, or those named ``PREFIX/...``, in the order they were made.

    Args:
        only: the names of the studies that are wanted; ``None`` for all.

    Raises:
        StorageError: the storage does not exist, or belongs to another program.
    """
    check_storage(storage, write=False)
    query = sqlalchemy.select(STUDIES.c.study_id, STUDIES.c.study_name).order_by(STUDIES.c.study_id)
    if only is not None:
        query = query.where(STUDIES.c.study_name.in_(only))
    with connected(storage) as connection:
        return [
            _one(connection, study_id, name)
            for study_id, name in connection.execute(query).all()
            if prefix is None or name == prefix or name.startswith(f"{prefix}/")
        ]


def study_names(storage: str) -> list[str]:
    """Names of all studies of a storage, in the order they were made.

    Raises:
        StorageError: the storage does not exist, or belongs to another program.
    """
    check_storage(storage, write=False)
    query = sqlalchemy.select(STUDIES.c.study_name).order_by(STUDIES.c.study_id)
    with connected(storage) as connection:
        return list(connection.execute(query).scalars())


def _one(connection: Connection, study_id: int, name: str) -> StudyOverview:
    mine = TRIALS.c.study_id == study_id
    count = sqlalchemy.func.count()
    by_state = sqlalchemy.select(TRIALS.c.state, count).where(mine).group_by(TRIALS.c.state)
    counts = {state: number for state, number in connection.execute(by_state)}
    last = sqlalchemy.select(sqlalchemy.func.max(TRIALS.c.datetime_complete)).where(mine)
    objectives = sqlalchemy.select(count).where(STUDY_DIRECTIONS.c.study_id == study_id)
    attributes = _attributes_of_studies(connection, [name], _SHOWN).get(name, {})
    known = {key: value for key, value in attributes.items() if value is not None}
    front, best_id = None, None
    best: Mapping[str, Any] = {}
    if connection.execute(objectives).scalar_one() > 1:
        front = tuple(front_in(connection, study_id))
        number, score, best = _chosen(front, known)
    else:
        best_id, number, score = _best(connection, study_id)
    default_id = _defaults(connection, study_id)
    wanted = [each for each in (best_id, default_id) if each is not None]
    names = ("iou", "runtime_seconds", "runtime_ratio", "faithful", FIDELITY, PENALTY)
    stored = trial_attributes(connection, wanted, names)
    best, default = stored.get(best_id or -1, best), stored.get(default_id or -1, {})
    reference = known.get("reference")
    return StudyOverview(
        study=name,
        trials=counts,
        best_number=number,
        best_score=score,
        best_iou=best.get("iou"),
        best_seconds=best.get("runtime_seconds"),
        best_ratio=best.get("runtime_ratio"),
        default_iou=default.get("iou"),
        default_seconds=default.get("runtime_seconds"),
        last_activity=connection.execute(last).scalar(),
        reliability=reliability_of(reference),
        coverage=stored_coverage(reference),
        front=front,
        lost=bool(counts.get("WAITING")) and _is_lost(connection, study_id),
        best_faithful=_faithful(best),
        default_faithful=_faithful(default),
        best_fidelity=Fidelity.of(best),
        default_fidelity=Fidelity.of(default),
        compromise=is_compromise(best),
        runtime_doubt=runtime_doubt(known.get("runtime_model")),
        explained=ExplainedClass.of(known),
    )


def _defaults(connection: Connection, study_id: int) -> int | None:
    """Return the id of the complete trial of lime's defaults, if there is one."""
    query = (
        sqlalchemy.select(TRIALS.c.trial_id)
        .join(TRIAL_ATTRIBUTES, attribute_of(TRIAL_ATTRIBUTES, "origin"))
        .where(
            TRIALS.c.study_id == study_id,
            TRIALS.c.state == "COMPLETE",
            TRIAL_ATTRIBUTES.c.value_json == json.dumps(DEFAULTS_ORIGIN),
        )
        .limit(1)
    )
    return connection.execute(query).scalar()


def _is_lost(connection: Connection, study_id: int) -> bool:
    """Whether the first waiting trial repeats one whose worker died."""
    first = (
        sqlalchemy.select(sqlalchemy.func.min(TRIALS.c.trial_id))
        .where(TRIALS.c.study_id == study_id, TRIALS.c.state == "WAITING")
        .scalar_subquery()
    )
    attributes = TRIAL_SYSTEM_ATTRIBUTES.c
    query = sqlalchemy.select(attributes.key).where(
        attributes.trial_id == first, attributes.key == RETRIES
    )
    return connection.execute(query).first() is not None


def _best(
    connection: Connection, study_id: int
) -> tuple[int, int, float] | tuple[None, None, None]:
    """Return id, number and score of the best trial of a study with one objective."""
    best = connection.execute(
        sqlalchemy.select(TRIALS.c.trial_id, TRIALS.c.number, TRIAL_VALUES.c.value)
        .join(TRIAL_VALUES, TRIAL_VALUES.c.trial_id == TRIALS.c.trial_id)
        .where(
            TRIALS.c.study_id == study_id,
            TRIALS.c.state == "COMPLETE",
            TRIAL_VALUES.c.value.is_not(None),
        )
        .order_by(TRIAL_VALUES.c.value.desc(), TRIALS.c.number)
        .limit(1)
    ).first()
    return (None, None, None) if best is None else (best.trial_id, best.number, best.value)


def _chosen(
    front: tuple[FrontPoint, ...], attributes: Mapping[str, Any]
) -> tuple[int | None, float | None, dict[str, Any]]:
    """Return number, score and values of the point on a front that the study's weight chooses."""
    if not front:
        return None, None, {}
    own = ByWeight(weight_of(attributes))
    chosen = own.of(front)
    return chosen.number, chosen.score(own.weight), asdict(chosen)


def reliability_of(reference: Mapping[str, Any] | None) -> float | None:
    """Return the score in a study's attribute ``reference``; ``None`` if it was not estimated."""
    reliability = (reference or {}).get("reliability")
    return None if reliability is None else float(reliability["score"])


def best_parameters(storage: str, prefix: str, choice: Choice | None = None) -> dict[str, str]:
    """Return ``lime_parameters`` (JSON) of the best trial of each study ``PREFIX/KEY``, by key.
    Args:
        choice: chooses among all complete trials of a study; ``None`` takes the best score.

    Raises:
        InvalidInput: no trial of a study meets the choice.
    """
    rows = [row for row in overview(storage, prefix) if row.best_number is not None]
    parameters = {}
    with connected(storage) as connection:
        for row in rows:
            number = row.best_number
            if choice is not None:
                number = number_by(choice, connection, row.study, row.front)
            if number is None:
                continue
            query = (
                sqlalchemy.select(TRIALS.c.trial_id)
                .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
                .where(STUDIES.c.study_name == row.study, TRIALS.c.number == number)
            )
            trial_ids = connection.execute(query).scalars().all()
            for best in trial_attributes(connection, trial_ids, ("lime_parameters",)).values():
                if "lime_parameters" in best:
                    parameters[row.study[len(prefix) + 1 :]] = best["lime_parameters"]
    return parameters


def study_attributes(storage: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return user attributes by study name; studies that do not exist are left out."""
    check_storage(storage, write=False)
    with connected(storage) as connection:
        return _attributes_of_studies(connection, list(names))


def _attributes_of_studies(
    connection: Connection, names: list[str], keys: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return all user attributes by study name, or some of them; damaged ones are ``None``."""
    query = (
        sqlalchemy.select(
            STUDIES.c.study_name, STUDY_ATTRIBUTES.c.key, STUDY_ATTRIBUTES.c.value_json
        )
        .join(STUDY_ATTRIBUTES, STUDY_ATTRIBUTES.c.study_id == STUDIES.c.study_id)
        .where(STUDIES.c.study_name.in_(names))
    )
    if keys is not None:
        query = query.where(STUDY_ATTRIBUTES.c.key.in_(keys))
    by_study: dict[str, dict[str, Any]] = {}
    for name, key, value in connection.execute(query):
        by_study.setdefault(name, {})[key] = decoded(value, key, "study", name)
    return by_study


def _faithful(attributes: Mapping[str, Any]) -> Faithfulness | None:
    stored = attributes.get("faithful")
    return None if stored is None else Faithfulness.from_json(stored)
