"""Trees of rows: a row, the rows that belong to it, and those that belong to them.

A study with its trials is one, a comparison with its images another. Their numbers (primary keys)
are the database's own affair: a copy has others, and is the same for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Column, ColumnElement, Connection, Table

from explainers.errors import StorageError

__all__ = [
    "Branch", "Node", "delete_tree", "insert_nodes", "read_nodes", "rows_by_table", "shape",
    "text_of", "values_of",
]  # fmt: skip

_CHUNK = 500  # rows that are held at a time, with what belongs to them


@dataclass(frozen=True, eq=False)
class Branch:
    """A table in a tree.

    Attributes:
        parent: the column that names the row it belongs to; ``None`` at the root.
        adjust: what becomes of a row's values before anybody sees them.
    """

    table: Table
    parent: Column[Any] | None = None
    branches: tuple[Branch, ...] = ()
    adjust: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    @property
    def key(self) -> Column[Any]:
        """The number of a row."""
        (key,) = self.table.primary_key.columns
        return key

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """What a row says of itself, by name: not its number, nor its parent's."""
        own = [c for c in self.table.columns if c is not self.key and c is not self.parent]
        return tuple(sorted(own, key=lambda column: column.name))


class Node(NamedTuple):
    """A row and what belongs to it.

    Attributes:
        values: of :attr:`Branch.columns`.
        children: of :attr:`Branch.branches`, each in the order of its keys.
    """

    key: int
    parent: int | None
    values: tuple[Any, ...]
    children: tuple[list[Node], ...]


def values_of(row: Iterable[Any], whole: bool) -> tuple[Any, ...]:
    """Values that every database gives back as they are.

    Args:
        whole: times to the second: MariaDB drops the fraction, MySQL rounds it.
    """
    return tuple(_value(value, whole) for value in row)


def _value(value: Any, whole: bool) -> Any:
    if isinstance(value, float):
        return value + 0.0  # no database but PostgreSQL knows -0.0
    if whole and isinstance(value, datetime):
        return value.replace(microsecond=0)
    return value


def read_nodes(
    connection: Connection,
    branch: Branch,
    condition: ColumnElement[bool],
    *,
    whole: bool,
    chunk: int = _CHUNK,
) -> Iterator[Node]:
    """The trees that hang from the rows of a condition, in the order of their keys.

    Args:
        chunk: how many are held at a time.
    """
    last: int | None = None
    while True:
        after = condition if last is None else condition & (branch.key > last)
        rows = _rows(connection, branch, after, whole, limit=chunk)
        yield from _with_children(connection, branch, rows, whole)
        if len(rows) < chunk:
            return
        last = rows[-1].key


def _rows(
    connection: Connection,
    branch: Branch,
    condition: ColumnElement[bool],
    whole: bool,
    limit: int | None = None,
) -> list[Node]:
    """Without children."""
    columns = branch.columns
    parent = sqlalchemy.null() if branch.parent is None else branch.parent
    query = sqlalchemy.select(branch.key, parent, *columns).where(condition).order_by(branch.key)
    if limit is not None:
        query = query.limit(limit)
    names = [column.name for column in columns]
    found = []
    for key, above, *row in connection.execute(query):
        if branch.adjust is not None:
            changed = branch.adjust(dict(zip(names, row, strict=True)))
            row = [changed[name] for name in names]
        found.append(Node(key, above, values_of(row, whole), ()))
    return found


def _with_children(
    connection: Connection, branch: Branch, rows: list[Node], whole: bool
) -> list[Node]:
    if not branch.branches or not rows:
        return rows
    grouped: list[dict[int, list[Node]]] = []
    for below in branch.branches:
        assert below.parent is not None
        groups: dict[int, list[Node]] = {}
        for start in range(0, len(rows), _CHUNK):  # a database limits the length of a list
            keys = [row.key for row in rows[start : start + _CHUNK]]
            children = _rows(connection, below, below.parent.in_(keys), whole)
            for node in _with_children(connection, below, children, whole):
                assert node.parent is not None
                groups.setdefault(node.parent, []).append(node)
        grouped.append(groups)
    return [
        row._replace(children=tuple(groups.get(row.key, []) for groups in grouped)) for row in rows
    ]


def shape(branch: Branch) -> str:
    """The names of tables and columns, as one line of JSON."""
    return json.dumps(_shape(branch))


def _shape(branch: Branch) -> list[Any]:
    names = [column.name for column in branch.columns]
    return [branch.table.name, names, [_shape(below) for below in branch.branches]]


def text_of(node: Node) -> str:
    """What a tree says, as one line of JSON; floats by ``repr``, files by their SHA-256.

    Attributes and distributions are texts of JSON in the database, and stay just these texts.
    """
    return json.dumps(_document(node), default=_plain)


def _document(node: Node) -> list[Any]:
    return [node.values, *([_document(child) for child in group] for group in node.children)]


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (bytes, memoryview)):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"{type(value).__name__} in a table")


def rows_by_table(branch: Branch, node: Node) -> dict[str, int]:
    """How many rows of each table a tree has."""
    counts = {branch.table.name: 1}
    for below, children in zip(branch.branches, node.children, strict=True):
        for child in children:
            for name, count in rows_by_table(below, child).items():
                counts[name] = counts.get(name, 0) + count
    return counts


def insert_nodes(
    connection: Connection, branch: Branch, nodes: Sequence[Node], parents: Sequence[int | None]
) -> list[int]:
    """Write trees under other parents, in their order.

    Returns:
        The new keys; of rows with nothing below them, none.

    Raises:
        StorageError: the database does not say which numbers it gave.
    """
    if not nodes:
        return []
    names = [column.name for column in branch.columns]
    rows = [dict(zip(names, node.values, strict=True)) for node in nodes]
    insert = sqlalchemy.insert(branch.table)
    if branch.parent is None:
        keys = []
        for row in rows:
            made = connection.execute(insert, row).inserted_primary_key
            assert made is not None
            keys.append(int(made[0]))
    else:
        for row, parent in zip(rows, parents, strict=True):
            row[branch.parent.name] = parent
        mine = branch.parent.in_(sorted({key for key in parents if key is not None}))
        floor = _last_key(connection, branch, mine) if branch.branches else None
        connection.execute(insert, rows)
        if not branch.branches:
            return []
        keys = _new_keys(connection, branch, mine, floor, len(rows))
    for position, below in enumerate(branch.branches):
        children = [
            (child, key)
            for node, key in zip(nodes, keys, strict=True)
            for child in node.children[position]
        ]
        insert_nodes(connection, below, [c for c, _ in children], [key for _, key in children])
    return keys


def _last_key(
    connection: Connection, branch: Branch, condition: ColumnElement[bool]
) -> int | None:
    return connection.execute(
        sqlalchemy.select(sqlalchemy.func.max(branch.key)).where(condition)
    ).scalar()


def _new_keys(
    connection: Connection,
    branch: Branch,
    condition: ColumnElement[bool],
    floor: int | None,
    expected: int,
) -> list[int]:
    """The keys of rows that were just written; they rise in the order of writing."""
    if floor is not None:
        condition = condition & (branch.key > floor)
    query = sqlalchemy.select(branch.key).where(condition).order_by(branch.key)
    keys = [int(key) for key in connection.execute(query).scalars()]
    if len(keys) != expected:
        raise StorageError(
            f"{expected} rows were written to {branch.table.name} and {len(keys)} are there: "
            "somebody else writes to the same study, copy again"
        )
    return keys


def delete_tree(connection: Connection, branch: Branch, condition: ColumnElement[bool]) -> None:
    """Delete the rows of a condition, and all that belongs to them before."""
    for below in branch.branches:
        assert below.parent is not None
        above = sqlalchemy.select(branch.key).where(condition)
        delete_tree(connection, below, below.parent.in_(above))
    connection.execute(sqlalchemy.delete(branch.table).where(condition))
