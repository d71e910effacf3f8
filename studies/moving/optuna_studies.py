"""Optuna's studies as rows of its tables: which there are, what they hold, whether they rest.

Running trials of a source read as failed: nothing runs in a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Connection, MetaData, Table

from explainers.errors import StorageError
from studies.heartbeats import grace_seconds
from studies.moving.dashboard_paths import Attribute, RowNumbers, without_numbers
from studies.moving.row_trees import Branch, Node, read_nodes, shape, text_of
from studies.storage import describe

__all__ = [
    "ATTRIBUTE_TABLES", "ContentDigest", "StudyTables", "artifact_owners", "attribute_nodes",
    "check_at_rest", "content_digest", "read_study", "read_trials", "study_keys", "study_tables",
    "trial_counts", "trial_rows",
]  # fmt: skip

_SCHEMA = "v3.2.0.a"  # of Optuna's tables, as its migrations call it
ATTRIBUTE_TABLES = ("study_system_attributes", "study_user_attributes")
_STUDY_PARTS = ("study_directions", *ATTRIBUTE_TABLES)
_TRIAL_PARTS = (
    "trial_intermediate_values", "trial_params", "trial_system_attributes",
    "trial_user_attributes", "trial_values",
)  # fmt: skip
_HEARTBEATS = "trial_heartbeats"
_VERSION = "alembic_version"
_ARTIFACT = "artifacts:"  # begins the names of system attributes that tell of a file


@dataclass(frozen=True, eq=False)
class StudyTables:
    """Optuna's tables in a database.

    Attributes:
        study: a study and what it says of itself. trials: its trials and what belongs to them.
        whole: everything of a study, heartbeats too.
    """

    study: Branch
    trials: Branch
    whole: Branch
    heartbeats: Table

    @property
    def name(self) -> Column[Any]:
        """The column of studies' names."""
        return self.study.table.c.study_name


def study_tables(connection: Connection, url: str, *, settle: bool) -> StudyTables:
    """Optuna's tables, as the database describes them.

    Args:
        settle: running trials read as failed.

    Raises:
        StorageError: they are of another version than this module knows.
    """
    meta = MetaData()
    names = ("studies", "trials", _HEARTBEATS, _VERSION, *_STUDY_PARTS, *_TRIAL_PARTS)
    there = set(sqlalchemy.inspect(connection).get_table_names())
    found = None
    if there.issuperset(names):
        sqlalchemy.event.listen(meta, "column_reflect", _exact_floats)
        meta.reflect(connection, only=names)
        version = meta.tables[_VERSION].c.version_num
        found = connection.execute(sqlalchemy.select(version)).scalar()
    if found != _SCHEMA:
        raise StorageError(
            f"{describe(url)} has version {found or 'unknown'} of Optuna's tables, and only "
            f"{_SCHEMA} can be copied: optuna storage upgrade --storage URL makes older ones newer"
        )
    tables = meta.tables

    def under(parent: str, names: tuple[str, ...]) -> tuple[Branch, ...]:
        return tuple(Branch(tables[name], tables[name].c[parent]) for name in names)

    parts = under("study_id", _STUDY_PARTS)
    trials, heartbeats = tables["trials"], under("trial_id", (_HEARTBEATS,))
    branches = under("trial_id", _TRIAL_PARTS)
    everything = Branch(trials, trials.c.study_id, (*branches, *heartbeats))
    return StudyTables(
        study=Branch(tables["studies"], None, parts),
        trials=Branch(trials, trials.c.study_id, branches, _settled if settle else None),
        whole=Branch(tables["studies"], None, (*parts, everything)),
        heartbeats=tables[_HEARTBEATS],
    )


def _exact_floats(inspector: Any, table: Table, column: Any) -> None:
    """MariaDB's doubles would be read as decimals of ten places."""
    if getattr(column["type"], "asdecimal", False):
        column["type"] = sqlalchemy.Float(53)


def _settled(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial that nobody works on any more has failed; when it was left is not known."""
    if trial["state"] != "RUNNING":
        return trial
    return trial | {"state": "FAIL", "datetime_complete": trial["datetime_start"]}


def study_keys(connection: Connection, tables: StudyTables, prefix: str | None) -> dict[str, int]:
    """The numbers of all studies, or of those named ``PREFIX`` or ``PREFIX/...``, by name, oldest
    first."""
    key = tables.study.key
    query = sqlalchemy.select(tables.name, key).order_by(key)
    return {
        name: number
        for name, number in connection.execute(query)
        if prefix is None or name == prefix or name.startswith(f"{prefix}/")
    }


def trial_counts(connection: Connection, tables: StudyTables, study: int) -> dict[str, int]:
    """How many trials of a study are in each state, as the database says."""
    trials = tables.trials.table
    query = (
        sqlalchemy.select(trials.c.state, sqlalchemy.func.count())
        .where(trials.c.study_id == study)
        .group_by(trials.c.state)
    )
    return dict(sorted((str(state), int(count)) for state, count in connection.execute(query)))


def check_at_rest(
    connection: Connection, tables: StudyTables, name: str, study: int, url: str
) -> None:
    """Nobody must be at work on a study.

    Raises:
        StorageError: a running trial has sent a heartbeat in the last seconds; or, where trials
            send none, has only begun.
    """
    trials, beats = tables.trials.table, tables.heartbeats
    query = (
        sqlalchemy.select(trials.c.number, trials.c.datetime_start, beats.c.heartbeat)
        .join(beats, beats.c.trial_id == trials.c.trial_id, isouter=True)
        .where(trials.c.study_id == study, trials.c.state == "RUNNING")
    )
    rows = connection.execute(query).all()
    if not rows:
        return
    # As Optuna does: heartbeats are told by the database's clock, in its own time zone.
    now = connection.execute(sqlalchemy.select(sqlalchemy.func.now())).scalar_one()
    now, utc = now.replace(tzinfo=None), datetime.now(timezone.utc).replace(tzinfo=None)
    for number, started, beat in rows:
        age = utc - (started or datetime.min) if beat is None else now - beat
        if age <= timedelta(seconds=grace_seconds()):
            raise StorageError(
                f"study '{name}' in {describe(url)} is at work (trial {number}): stop it, wait "
                f"{grace_seconds()} seconds, and copy again; nothing was copied"
            )


def read_trials(
    connection: Connection, tables: StudyTables, study: int, whole: bool
) -> Iterator[Node]:
    """Trials with all they hold, oldest first.

    Args:
        whole: times to the second.
    """
    mine = tables.trials.table.c.study_id == study
    return read_nodes(connection, tables.trials, mine, whole=whole)


class ContentDigest:
    """SHA-256 over a study: every attribute of it, then trial by trial.

    Args:
        root: see :func:`read_study`.
    """

    def __init__(self, tables: StudyTables, root: Node) -> None:
        self._tables, self._hash = tables, hashlib.sha256()
        for line in (shape(tables.study), shape(tables.trials)):
            self._add(line)
        self._add(text_of(_sorted(tables.study, root)))

    def _add(self, line: str) -> None:
        self._hash.update(line.encode() + b"\n")

    def add(self, trial: Node) -> None:
        """Take the next trial in."""
        self._add(text_of(_sorted(self._tables.trials, trial)))

    def __str__(self) -> str:
        return self._hash.hexdigest()


def _sorted(branch: Branch, node: Node) -> Node:
    """Attributes and values by name, however they were written; parameters as suggested."""
    groups = (
        group if below.table.name == "trial_params" else sorted(group, key=_values)
        for below, group in zip(branch.branches, node.children, strict=True)
    )
    return node._replace(children=tuple(groups))


def _values(node: Node) -> str:
    return str(node.values)


def read_study(connection: Connection, tables: StudyTables, study: int, whole: bool) -> Node:
    """The study and what it says of itself, without numbers of rows."""
    (root,) = read_nodes(connection, tables.study, tables.study.key == study, whole=whole)
    rows = RowNumbers(
        study, trial_rows(connection, tables, study), artifact_owners(connection, tables, study)
    )
    groups = (
        attribute_nodes(without_numbers((node.values for node in group), rows))
        if branch.table.name in ATTRIBUTE_TABLES
        else group
        for branch, group in zip(tables.study.branches, root.children, strict=True)
    )
    return root._replace(children=tuple(groups))


def attribute_nodes(attributes: Iterable[Attribute]) -> list[Node]:
    """Attributes as rows to be written."""
    return [Node(0, None, each, ()) for each in attributes]


def trial_rows(connection: Connection, tables: StudyTables, study: int) -> dict[int, int]:
    """The rows of a study's trials, by the trial's number."""
    trials = tables.trials.table
    query = sqlalchemy.select(trials.c.number, trials.c.trial_id).where(trials.c.study_id == study)
    return {int(number): int(key) for number, key in connection.execute(query)}


def artifact_owners(
    connection: Connection, tables: StudyTables, study: int
) -> dict[str, int | None]:
    """Ids of the artifacts of a study and of its trials, with the trial's number or ``None``."""
    of_study, of_trial = (
        next(below.table for below in branch.branches if below.table.name == name)
        for branch, name in (
            (tables.study, "study_system_attributes"),
            (tables.trials, "trial_system_attributes"),
        )
    )
    trials = tables.trials.table
    queries = (
        sqlalchemy.select(of_study.c.key, sqlalchemy.null()).where(
            of_study.c.study_id == study, of_study.c.key.startswith(_ARTIFACT)
        ),
        sqlalchemy.select(of_trial.c.key, trials.c.number)
        .join(trials, trials.c.trial_id == of_trial.c.trial_id)
        .where(trials.c.study_id == study, of_trial.c.key.startswith(_ARTIFACT)),
    )
    return {
        key[len(_ARTIFACT) :]: number
        for query in queries
        for key, number in connection.execute(query)
        if str(key).startswith(_ARTIFACT)  # SQLite and MariaDB take upper case for lower
    }


def content_digest(
    connection: Connection, tables: StudyTables, study: int, *, whole: bool
) -> str:
    """SHA-256 over a study: name, directions, attributes, and trials with all they hold.

    Args:
        whole: times to the second.
    """
    digest = ContentDigest(tables, read_study(connection, tables, study, whole))
    for trial in read_trials(connection, tables, study, whole):
        digest.add(trial)
    return str(digest)
