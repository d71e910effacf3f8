"""Copy rows of our own tables.

Their rows are recorded once and do not change, so rows are only added. The target has a row when
one of its rows has the same values and the same parents. A table is therefore copied after the
tables of its foreign keys, whose rows have other numbers in the target.
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

_STAYS = 0  # in place of the target's number: the row and its children are not copied
_HELD = 20  # rows in memory at a time, as some hold pictures


@dataclass(frozen=True)
class CopiedRows:
    """Number of rows of one table, by outcome.

    Attributes:
        copied: written now.
        there: the target already had them.
        left: rows of unfinished runs; these are not copied, as a run continues in its own storage.
        skipped: whether the table was skipped, as a study was named and the table has none.
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
    on_progress: Callable[[str], None] = lambda table: None,
) -> dict[str, CopiedRows]:
    """Copy rows that the target lacks, and compare them. The caller commits the transaction.

    Args:
        target: ``None`` when it has none of our tables yet; then nothing is written.
        study: only rows of this study.
        overwrite: replace rows of the target that a unique constraint does not allow beside those
            that are copied.
        whole_seconds: compare times to the second.
        write: ``False`` only counts.
        on_progress: called with the table that is next.

    Returns:
        The counts, by name of the table.

    Raises:
        StorageError: a copied row does not read the same in the target; or, without
            ``overwrite``, a unique constraint does not allow a row beside one of the target.
    """
    write = write and target is not None
    work = _Copying(source, target, study, overwrite, whole_seconds, write)
    copied = {}
    for table in Base.metadata.sorted_tables:
        on_progress(table.name)
        copied[table.name] = work.copy(table)
    if write:
        again = _Copying(source, target, study, overwrite, whole_seconds, write=False)
        for table in Base.metadata.sorted_tables:
            if again.copy(table).copied:
                raise StorageError(
                    f"rows of {table.name} do not read the same in the target: no records were "
                    "copied, the source is as it was; does the target's database cut long texts?"
                )
    return copied


@dataclass
class _Copying:
    """The arguments of :func:`copy_records`, and the row numbers so far.

    Attributes:
        numbers: by table, the target's row number by the source's; ``None`` for a row that is not
            written yet, or ``_STAYS``.
    """

    source: Connection
    target: Connection | None
    study: str | None
    overwrite: bool
    whole_seconds: bool
    write: bool
    numbers: dict[str, dict[int, int | None]] = field(default_factory=dict)

    def copy(self, table: Table) -> CopiedRows:
        """Copy a table; the tables of its foreign keys must have been copied before."""
        (key,) = table.primary_key.columns
        parents = {
            column.name: str(link.column.table.name)
            for column in table.columns
            for link in column.foreign_keys
        }
        of_study = parents or self.study is None or "study" in table.c
        if not of_study or not all(parent in self.numbers for parent in parents.values()):
            return CopiedRows(skipped=True)
        mine: ColumnElement[bool] = sqlalchemy.true()
        theirs: ColumnElement[bool] = sqlalchemy.true()
        if parents:
            name = next(iter(parents))
            numbers = self.numbers[parents[name]]
            mine = table.c[name].in_(numbers)
            theirs = table.c[name].in_({number for number in numbers.values() if number})
        elif self.study is not None:
            mine = table.c["study"] == self.study
        alike: dict[str, list[int]] = defaultdict(list)  # a list, as equal rows are kept apart
        places: dict[tuple[Any, ...], int] = {}
        for row in self._rows(self.target, table, theirs):
            number = row.pop(key.name)
            alike[_digest(row)].append(number)
            places |= dict.fromkeys(_places(table, row), number)
        counts: Counter[str] = Counter()
        copied_numbers = self.numbers[table.name] = {}
        for row in self._rows(self.source, table, mine):
            number = row.pop(key.name)
            for name, parent in parents.items():
                row[name] = self.numbers[parent].get(row[name], _STAYS)
            taken = next((places[each] for each in _places(table, row) if each in places), None)
            if row.get("finished") is False or any(row[name] == _STAYS for name in parents):
                counts["left"] += 1
                copied_numbers[number] = _STAYS
            elif same := alike[_digest(row)]:
                counts["there"] += 1
                copied_numbers[number] = same.pop(0)
            else:
                counts.update(copied=1, other=taken is not None)
                copied_numbers[number] = self._written(table, row, taken)
        if counts["other"] and not self.overwrite:
            raise StorageError(
                f"{counts['other']} rows of {table.name} say something else in the target: nothing "
                "was copied; --overwrite replaces them"
            )
        return CopiedRows(counts["copied"], counts["there"], counts["left"])

    def _rows(
        self, connection: Connection | None, table: Table, condition: ColumnElement[bool]
    ) -> Iterator[dict[str, Any]]:
        if connection is None:
            return
        (key,) = table.primary_key.columns
        query = sqlalchemy.select(table).where(condition).order_by(key)
        for mapping in connection.execute(query, execution_options={"yield_per": _HELD}).mappings():
            row = dict(mapping)
            for name, value in row.items():
                if self.whole_seconds and isinstance(value, datetime):
                    row[name] = value.replace(microsecond=0)
            yield row

    def _written(self, table: Table, row: dict[str, Any], taken: int | None) -> int | None:
        """Write a row and return its number in the target; ``taken`` is a row to be replaced."""
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
    return hashlib.sha256(repr([_plain(row[name]) for name in sorted(row)]).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value + 0.0  # only PostgreSQL stores -0.0
    if isinstance(value, (bytes, memoryview)):
        return hashlib.sha256(value).hexdigest()
    return value


def _places(table: Table, row: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield a row's values under each unique constraint of its table."""
    for number, constraint in enumerate(table.constraints):
        if isinstance(constraint, UniqueConstraint):
            yield number, *(row[column.name] for column in constraint.columns)
