"""Our own tables: facts that were recorded once and do not change, so they are only ever added.

The target has a row when it has one that says just the same under the same parents. So a table is
copied after those that its foreign keys name, whose rows have got other numbers by then.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Table, UniqueConstraint

from explainers.errors import StorageError
from studies.records.tables import Base

__all__ = ["CopiedRows", "copy_records"]

_STAYS = -1  # in place of the target's number: the row stays, and what belongs to it
_HELD = 20  # rows that are held at a time, some with pictures


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


def copy_records(
    source: Connection,
    target: Connection | None,
    *,
    study: str | None,
    overwrite: bool,
    whole_seconds: bool,
    write: bool,
    told: Callable[[str], None] = lambda table: None,
) -> dict[str, CopiedRows]:
    """Copy what the target does not have, and look whether it has it then. The transaction is the
    caller's.

    Args:
        target: ``None`` when it has none of our tables yet; then nothing is written.
        study: only rows that name it.
        overwrite: replace rows that cannot stand beside those that are copied.
        whole_seconds: times to the second.
        write: ``False`` only counts.
        told: called with the table that is next.

    Returns:
        By table.

    Raises:
        StorageError: what the target holds now is not what the source holds; or the target has
            other rows in the same place, which are not to be overwritten.
    """
    write = write and target is not None
    work = _Copying(source, target, study, overwrite, whole_seconds, write)
    found = {}
    for table in Base.metadata.sorted_tables:
        told(table.name)
        found[table.name] = work.copy(table)
    if write:
        again = _Copying(source, target, study, overwrite, whole_seconds, write=False)
        for table in Base.metadata.sorted_tables:
            if again.copy(table).copied:
                raise StorageError(
                    f"rows of {table.name} do not read the same in the target: no records were "
                    "copied, the source is as it was; does the target's database cut long texts?"
                )
    return found


@dataclass
class _Copying:
    """What is done, and what was done so far.

    Attributes:
        numbers: by table, of the target's row by number in the source; ``None`` for a row that is
            yet to be written, or ``_STAYS``.
    """

    source: Connection
    target: Connection | None
    study: str | None
    overwrite: bool
    whole_seconds: bool
    write: bool
    numbers: dict[str, dict[int, int | None]] = field(default_factory=dict)

    def copy(self, table: Table) -> CopiedRows:
        """Copy a table, after those that its rows belong to."""
        parents = {
            column.name: str(key.column.table.name)
            for column in table.columns
            for key in column.foreign_keys
        }
        names_study = parents or self.study is None or "study" in table.c
        if not names_study or not all(parent in self.numbers for parent in parents.values()):
            return CopiedRows(skipped=True)
        self.numbers[table.name] = {}
        counts: Counter[str] = Counter()
        for name, parent in list(parents.items())[:1]:
            for mine, theirs in self.numbers[parent].items():
                known = theirs is not None and theirs != _STAYS
                there = table.c[name] == theirs if known else None
                counts += self._copy_where(table, parents, table.c[name] == mine, there)
        if not parents:
            everything = sqlalchemy.true()
            wanted = everything if self.study is None else table.c["study"] == self.study
            counts += self._copy_where(table, parents, wanted, everything)
        if counts["other"] and not self.overwrite:
            raise StorageError(
                f"{counts['other']} rows of {table.name} say something else in the target: nothing "
                "was copied; --overwrite replaces them"
            )
        return CopiedRows(counts["copied"], counts["there"], counts["left"])

    def _copy_where(
        self,
        table: Table,
        parents: Mapping[str, str],
        mine: ColumnElement[bool],
        theirs: ColumnElement[bool] | None,
    ) -> Counter[str]:
        """Copy the source's rows of a condition, beside the target's of another, if it has any."""
        (key,) = table.primary_key.columns
        alike: dict[str, list[int]] = defaultdict(list)  # two that say the same stay two
        places: dict[tuple[Any, ...], int] = {}
        if self.target is not None and theirs is not None:
            for row in self._rows(self.target, table, theirs):
                number = row.pop(key.name)
                alike[_digest(row)].append(number)
                places |= dict.fromkeys(_places(table, row), number)
        counts: Counter[str] = Counter()
        for row in self._rows(self.source, table, mine):
            number = row.pop(key.name)
            for name, parent in parents.items():
                row[name] = self.numbers[parent].get(row[name], _STAYS)
            if row.get("finished") is False or any(row[name] == _STAYS for name in parents):
                counts["left"] += 1
                self.numbers[table.name][number] = _STAYS
                continue
            same = alike[_digest(row)]
            if same:
                counts["there"] += 1
                self.numbers[table.name][number] = same.pop(0)
                continue
            taken = next((places[each] for each in _places(table, row) if each in places), None)
            counts.update(copied=1, other=taken is not None)
            self.numbers[table.name][number] = self._written(table, row, taken)
        return counts

    def _rows(
        self, connection: Connection, table: Table, condition: ColumnElement[bool]
    ) -> Iterator[dict[str, Any]]:
        (key,) = table.primary_key.columns
        query = sqlalchemy.select(table).where(condition).order_by(key)
        for row in connection.execute(query, execution_options={"yield_per": _HELD}).mappings():
            yield {
                name: value.replace(microsecond=0)
                if self.whole_seconds and isinstance(value, datetime)
                else value
                for name, value in row.items()
            }

    def _written(self, table: Table, row: dict[str, Any], taken: int | None) -> int | None:
        """The target's number of a row that it has now; ``taken`` is that of one it replaces."""
        if not self.write or self.target is None or (taken is not None and not self.overwrite):
            return taken
        (key,) = table.primary_key.columns
        if taken is not None:
            self.target.execute(sqlalchemy.update(table).where(key == taken).values(row))
            return taken
        made = self.target.execute(sqlalchemy.insert(table), row).inserted_primary_key
        assert made is not None
        return int(made[0])


def _digest(row: Mapping[str, Any]) -> str:
    """Of what a row says."""
    return hashlib.sha256(repr([_plain(row[name]) for name in sorted(row)]).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value + 0.0  # no database but PostgreSQL knows -0.0
    if isinstance(value, (bytes, memoryview)):
        return hashlib.sha256(value).hexdigest()
    return value


def _places(table: Table, row: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What only one row of the table may have."""
    for number, constraint in enumerate(table.constraints):
        if isinstance(constraint, UniqueConstraint):
            yield number, *(row[column.name] for column in constraint.columns)
