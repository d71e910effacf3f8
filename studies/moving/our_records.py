"""Our own tables: facts that were recorded once and do not change, so they are only ever added.

A record is a row of a table that refers to no other (a run of ``compare``, a verification), with
all that belongs to it. The target has it when it has one that says just the same. Rows that join
two records (what a dissected layer says about a compared image) follow both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy import Column, ColumnElement, Connection, MetaData, Table

from explainers.errors import StorageError
from studies.moving.row_trees import (
    Branch,
    Node,
    insert_nodes,
    read_nodes,
    rows_by_table,
    text_of,
    values_of,
)
from studies.records.tables import Base

__all__ = ["CopiedRows", "copy_records", "forest"]

_STUDY = "study"
_FINISHED = "finished"


@dataclass(frozen=True)
class CopiedRows:
    """What became of the rows of a table.

    Attributes:
        copied: written now. there: the target had them.
        left: of runs that are not finished; they stay where they can go on.
        skipped: not looked at, because a study was named and the table knows none.
    """

    copied: int = 0
    there: int = 0
    left: int = 0
    skipped: bool = False


def forest(meta: MetaData) -> tuple[tuple[Branch, ...], tuple[Table, ...]]:
    """The trees that tables form by their foreign keys, and the tables that join trees."""
    parents = {table: _parents(table) for table in meta.sorted_tables}

    def grown(table: Table, parent: Column[Any] | None) -> Branch:
        below = (
            grown(each, column)
            for each, above in parents.items()
            for column, name in above.items()
            if len(above) == 1 and name == table.name
        )
        return Branch(table, parent, tuple(below))

    roots = tuple(grown(table, None) for table, above in parents.items() if not above)
    return roots, tuple(table for table, above in parents.items() if len(above) > 1)


def _parents(table: Table) -> dict[Column[Any], str]:
    """The tables that a table's rows belong to, by the columns that say so."""
    return {
        column: str(key.column.table.name)
        for column in table.columns
        for key in column.foreign_keys
    }


def copy_records(
    source: Connection,
    target: Connection | None,
    *,
    study: str | None,
    overwrite: bool,
    whole: bool,
    write: bool,
    told: Callable[[str], None] = lambda table: None,
) -> dict[str, CopiedRows]:
    """Copy what the target does not have. The transaction is the caller's.

    Args:
        target: ``None`` when it has none of our tables yet; then nothing is written.
        study: only rows that name it.
        overwrite: replace rows that join the same records and say something else.
        whole: times to the second.
        write: ``False`` only counts.
        told: called with the table that is next.

    Returns:
        By table.

    Raises:
        StorageError: what the target holds now is not what the source holds; or a joining row is
            there with other content, and is not to be overwritten.
    """
    roots, links = forest(Base.metadata)
    work = _Copying(source, target, study, overwrite, whole, write and target is not None)
    for root in roots:
        told(root.table.name)
        work.copy_root(root)
    for table in links:
        told(table.name)
        work.copy_links(table)
    return {
        table.name: CopiedRows(
            work.copied[table.name],
            work.there[table.name],
            work.left[table.name],
            table.name in work.skipped,
        )
        for table in Base.metadata.sorted_tables
    }


@dataclass
class _Copying:
    """What is done, and what was done so far.

    Attributes:
        numbers: of the target's row, by table and number in the source; ``None`` for a row that is
            yet to be written. Rows that are left behind are not in it.
    """

    source: Connection
    target: Connection | None
    study: str | None
    overwrite: bool
    whole: bool
    write: bool
    copied: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    skipped: set[str] = field(default_factory=set)
    numbers: dict[tuple[str, int], int | None] = field(default_factory=dict)

    def copy_root(self, root: Branch) -> None:
        """The records of a table."""
        columns = root.table.c
        wanted: ColumnElement[bool] = sqlalchemy.true()
        if self.study is not None:
            if _STUDY not in columns:
                self.skipped.update(_names(root))
                return
            wanted = columns[_STUDY] == self.study
        if _FINISHED in columns:
            for node in self._trees(root, wanted & columns[_FINISHED].is_(False)):
                self.left.update(rows_by_table(root, node))
            wanted = wanted & columns[_FINISHED].is_(True)
        alike = self._alike(root)
        for node in self._trees(root, wanted):
            found = self._find(root, node, alike)
            (self.copied if found is None else self.there).update(rows_by_table(root, node))
            if found is None and self.write:
                found = self._insert(root, node)
            self._number(root, node, found)

    def _trees(self, root: Branch, condition: ColumnElement[bool]) -> Iterator[Node]:
        """One at a time: they hold pictures."""
        return read_nodes(self.source, root, condition, whole=self.whole, chunk=1)

    def _alike(self, root: Branch) -> dict[str, list[int]]:
        """The target's records, by what their first row says."""
        found: dict[str, list[int]] = defaultdict(list)
        if self.target is not None:
            everything = sqlalchemy.true()
            for node in read_nodes(
                self.target, Branch(root.table), everything, whole=self.whole
            ):
                found[text_of(node)].append(node.key)
        return found

    def _find(self, root: Branch, node: Node, alike: dict[str, list[int]]) -> Node | None:
        """The target's record that says the same; it is taken out, so that two stay two."""
        candidates = alike.get(text_of(node._replace(children=())), [])
        for key in candidates:
            found = self._tree(root, key)
            if text_of(found) == text_of(node):
                candidates.remove(key)
                return found
        return None

    def _tree(self, root: Branch, key: int) -> Node:
        assert self.target is not None
        (found,) = read_nodes(self.target, root, root.key == key, whole=self.whole)
        return found

    def _insert(self, root: Branch, node: Node) -> Node:
        """Write a record, read it back, and compare."""
        assert self.target is not None
        (key,) = insert_nodes(self.target, root, [node], [None])
        found = self._tree(root, key)
        if text_of(found) != text_of(node):
            raise _differs(root.table, node)
        return found

    def _number(self, branch: Branch, node: Node, found: Node | None) -> None:
        """Note which row is which in two trees that say the same."""
        self.numbers[branch.table.name, node.key] = None if found is None else found.key
        for position, below in enumerate(branch.branches):
            mine = node.children[position]
            theirs = [None] * len(mine) if found is None else found.children[position]
            for one, other in zip(mine, theirs, strict=True):
                self._number(below, one, other)

    def copy_links(self, table: Table) -> None:
        """Rows whose records are in the target; others stay with those that were left."""
        parents = _parents(table)
        if self.skipped.intersection(parents.values()):
            self.skipped.add(table.name)
            return
        branch = Branch(table)
        names = [column.name for column in branch.columns]
        different = 0
        for node in read_nodes(self.source, branch, sqlalchemy.true(), whole=self.whole):
            row = dict(zip(names, node.values, strict=True))
            ends = [(name, row[column.name]) for column, name in parents.items()]
            if not all(end in self.numbers for end in ends):
                self.left[table.name] += 1
                continue
            row |= {
                column.name: self.numbers[end]
                for column, end in zip(parents, ends, strict=True)
            }
            ours = [column == row[column.name] for column in parents]
            found = self._contents(branch, sqlalchemy.and_(*ours))
            if row in found:
                self.there[table.name] += 1
                continue
            self.copied[table.name] += 1
            different += bool(found)
            if self.write and (self.overwrite or not found):
                self._replace(branch, sqlalchemy.and_(*ours), row, node)
        if different and not self.overwrite:
            raise StorageError(
                f"{different} rows of {table.name} say something else in the target: nothing was "
                "copied; --overwrite replaces them"
            )

    def _contents(self, branch: Branch, condition: ColumnElement[bool]) -> list[dict[str, Any]]:
        if self.target is None:
            return []
        names = [column.name for column in branch.columns]
        rows = self.target.execute(sqlalchemy.select(*branch.columns).where(condition))
        return [dict(zip(names, values_of(row, self.whole), strict=True)) for row in rows]

    def _replace(
        self, branch: Branch, condition: ColumnElement[bool], row: dict[str, Any], node: Node
    ) -> None:
        assert self.target is not None
        self.target.execute(sqlalchemy.delete(branch.table).where(condition))
        self.target.execute(sqlalchemy.insert(branch.table), row)
        if row not in self._contents(branch, condition):
            raise _differs(branch.table, node)


def _names(branch: Branch) -> Iterator[str]:
    yield branch.table.name
    for below in branch.branches:
        yield from _names(below)


def _differs(table: Table, node: Node) -> StorageError:
    return StorageError(
        f"row {node.key} of {table.name} does not read the same in the target: no records were "
        "copied, the source is as it was; does the target's database cut long texts?"
    )
