"""A study written into another database, as it is: what Optuna's own ``copy_study`` loses is kept.

That function goes through trials as Python objects. Running trials stay running for ever, times are
turned to local time and back, numbers are given anew, paths in the dashboard's notes lead nowhere,
and ten thousand trials take minutes. Here rows are copied, and the same transaction reads them back
and compares them, so a study is in the target whole, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from explainers.errors import StorageError
from studies.moving.dashboard_paths import RowNumbers, with_numbers
from studies.moving.optuna_studies import (
    ATTRIBUTE_TABLES,
    ContentDigest,
    StudyTables,
    artifact_owners,
    attribute_nodes,
    content_digest,
    read_study,
    read_trials,
    trial_counts,
    trial_rows,
)
from studies.moving.row_trees import Node, delete_tree, insert_nodes

__all__ = ["delete_study", "write_study"]

_BATCH = 500  # trials that are written at a time


def delete_study(connection: Connection, tables: StudyTables, study: int) -> None:
    """Delete a study and everything in it. The transaction is the caller's."""
    delete_tree(connection, tables.whole, tables.study.key == study)


def write_study(
    source: Connection,
    source_tables: StudyTables,
    study: int,
    target: Connection,
    target_tables: StudyTables,
    *,
    whole: bool,
    told: Callable[[int], None],
) -> tuple[str, dict[str, int]]:
    """Write a study, read it back, and compare. The transaction is the caller's.

    Args:
        whole: times to the second.
        told: called with the number of trials written so far.

    Returns:
        The study's :func:`~studies.moving.optuna_studies.content_digest`, and its trials by state.

    Raises:
        StorageError: what the target holds now is not what the source holds.
    """
    root = read_study(source, source_tables, study, whole)
    # Attributes go last: they name rows of trials.
    alone = _with_groups(target_tables, root, attributes=False)
    (key,) = insert_nodes(target, target_tables.study, [alone], [None])
    digest, states = ContentDigest(source_tables, root), Counter[str]()
    state = [column.name for column in source_tables.trials.columns].index("state")
    held: list[Node] = []

    def write() -> None:
        insert_nodes(target, target_tables.trials, held, [key] * len(held))
        held.clear()
        told(states.total())

    for trial in read_trials(source, source_tables, study, whole):
        digest.add(trial)
        states[str(trial.values[state])] += 1
        held.append(trial)
        if len(held) == _BATCH:
            write()
    write()
    rows = RowNumbers(
        key,
        trial_rows(target, target_tables, key),
        artifact_owners(source, source_tables, study),  # by trials' numbers, which stay
    )
    _write_attributes(target, target_tables, key, root, rows)
    _check_arrived(target, target_tables, key, str(root.values[0]), states, str(digest), whole)
    return str(digest), dict(sorted(states.items()))


def _with_groups(tables: StudyTables, root: Node, *, attributes: bool) -> Node:
    """Only the attributes, or only what else belongs to a study."""
    groups = zip(tables.study.branches, root.children, strict=True)
    return root._replace(
        children=tuple(
            group if (branch.table.name in ATTRIBUTE_TABLES) == attributes else []
            for branch, group in groups
        )
    )


def _write_attributes(
    target: Connection, tables: StudyTables, study: int, root: Node, rows: RowNumbers
) -> None:
    groups = _with_groups(tables, root, attributes=True).children
    for branch, group in zip(tables.study.branches, groups, strict=True):
        nodes = attribute_nodes(with_numbers((node.values for node in group), rows))
        insert_nodes(target, branch, nodes, [study] * len(nodes))


def _check_arrived(
    target: Connection,
    tables: StudyTables,
    study: int,
    name: str,
    states: Mapping[str, int],
    digest: str,
    whole: bool,
) -> None:
    arrived = trial_counts(target, tables, study)
    if arrived != dict(states):
        raise StorageError(
            f"study '{name}' has {_counted(states)} trials, but {_counted(arrived)} arrived: it "
            "was not copied, the source is as it was"
        )
    if content_digest(target, tables, study, whole=whole) != digest:
        raise StorageError(
            f"study '{name}' does not read the same in the target: it was not copied, the source "
            "is as it was; does the target's database cut long texts or round numbers?"
        )


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no"
