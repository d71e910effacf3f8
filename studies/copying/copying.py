"""A storage copied into another: looked at, planned, written study by study, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine

from explainers.errors import InvalidInput, StorageError
from studies.artifacts import artifact_store
from studies.copying.artifact_files import CopiedFiles, compare_files, copy_file
from studies.copying.our_records import CopiedRows, copy_records
from studies.copying.whole_studies import (
    WholeStudy,
    check_at_rest,
    read_study,
    study_names,
    write_study,
)
from studies.patient_storage import PatientStorage
from studies.records import SCHEMA_VERSION, records
from studies.records.schema import VERSION_TABLE
from studies.storage import (
    check_storage,
    describe,
    errors_told,
    holds_studies,
    open_storage,
    opened_tables,
    parse_url,
    sqlite_path,
)

__all__ = ["Copied", "CopiedStudy", "copy_storage"]

_OURS = "lime_tuner_"
_WHOLE_SECONDS = ("mysql", "mariadb")
_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class CopiedStudy:
    """What became of a study.

    Attributes:
        outcome: ``copied``, ``replaced``, or ``there`` when the target had the same.
        trials: by state, as they are in the target.
        interrupted: how many of them are running in the source, with nobody at work on them any
            more; they arrive as failed.
        sha256: of everything in it.
    """

    name: str
    outcome: str
    trials: Mapping[str, int]
    interrupted: int
    sha256: str


@dataclass(frozen=True)
class Copied:
    """What was copied, or would be.

    Attributes:
        source, target: URLs without passwords.
        records: by table of ours; empty where the source has none.
    """

    source: str
    target: str
    dry_run: bool
    studies: tuple[CopiedStudy, ...]
    records: Mapping[str, CopiedRows]
    artifacts: CopiedFiles


def copy_storage(
    source: str,
    target: str,
    *,
    study: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    told: Callable[[str, float, float], None] = lambda what, done, total: None,
) -> Copied:
    """Copy studies, our records and artifacts from a storage into another, and compare them.

    First everything is looked at; where the target has something else under a name, nothing is
    copied. Then artifacts are written, then studies one by one, then all records in one
    transaction. A study is written as ``(unfinished copy) STUDY``, read back and compared, and gets
    its name when it is whole. What an interrupted copy leaves under such a name, the next one
    deletes; it goes on with the studies that are missing.

    The source is only read. One exception: records of an older lime-tuner are migrated, as by every
    command that opens them.

    Args:
        study: only the studies named ``STUDY`` or ``STUDY/...``, and records that name it.
        overwrite: replace studies and artifacts that differ; those of the target are lost.
        dry_run: write nothing. Records of an older version in the target count as none.
        told: called with (what, steps done, of how many).

    Raises:
        InvalidInput: both are the same storage, or no study is called so.
        StorageError: one of them cannot be used, a study is at work, the target has another study
            of that name, or what arrived is not what was sent.
    """
    if _place(source) == _place(target):
        raise InvalidInput(
            f"--from and --to are the same storage ({describe(source)}): give another --to"
        )
    tables = _tables(source)
    if not tables or not all(name.startswith(_OURS) for name in tables):
        check_storage(source, write=False)  # a grading server leaves only our tables
    check_storage(target, write=True)
    with ExitStack() as stack:
        stack.enter_context(errors_told(source))
        job = _Copy(source, target, study, overwrite, told, stack.enter_context(_studies(source)))
        if any(name.startswith(_OURS) for name in tables):
            engine = stack.enter_context(records(source))
            job.records = stack.enter_context(_one_moment(engine))
        stack.enter_context(errors_told(target))
        plan = job.plan()
        return plan if dry_run else job.carry_out(plan)


def _place(url: str) -> tuple[Any, ...]:
    """What a URL leads to; the same for URLs that differ in the user only."""
    path = sqlite_path(url)
    if path is not None:
        return (path.resolve(),)
    parsed = parse_url(url)
    backend, host = parsed.get_backend_name(), parsed.host or "localhost"
    host = "localhost" if host in _LOOPBACK else host
    elsewhere = parsed.query.get("host"), parsed.query.get("unix_socket")
    return backend, host, parsed.port or _PORTS.get(backend), parsed.database, *elsewhere


def _tables(url: str) -> list[str]:
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        return []
    with opened_tables(url, []) as (connection, _):
        return sqlalchemy.inspect(connection).get_table_names()


@contextmanager
def _studies(url: str) -> Iterator[PatientStorage | None]:
    """A storage to be read; ``None`` where there are no studies."""
    if not holds_studies(url):
        yield None
        return
    with closing(open_storage(url, write=False)) as storage:
        yield storage


@contextmanager
def _one_moment(engine: Engine) -> Iterator[Connection]:
    """A connection that does not see what others write meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@dataclass
class _Copy:
    """What was asked for, and the source, opened.

    Attributes:
        studies, records: of the source; ``None`` where it has none.
    """

    source: str
    target: str
    study: str | None
    overwrite: bool
    told: Callable[[str, float, float], None]
    studies: PatientStorage | None
    records: Connection | None = None

    @property
    def whole_seconds(self) -> bool:
        """Whether one of the databases keeps no fractions of seconds."""
        urls = (self.source, self.target)
        return any(parse_url(url).get_backend_name() in _WHOLE_SECONDS for url in urls)

    def plan(self) -> Copied:
        """Compare everything, write nothing."""
        names = study_names(self.studies, self.study)
        if self.study is not None and not names:
            known = sorted({name.partition("/")[0] for name in study_names(self.studies)})
            raise InvalidInput(
                f"no study in {describe(self.source)} is named '{self.study}' or "
                f"'{self.study}/…': it has {', '.join(known) or 'none'}"
            )
        studies, artifacts = [], []
        with _studies(self.target) as there:
            theirs = set(study_names(there))
            for number, name in enumerate(names):
                self.told(f"compare {name}", number, len(names))
                mine = self._read(name)
                other = there if name in theirs else None
                studies.append(self._compared(mine, other))
                artifacts += mine.numbers.owners
        stores = artifact_store(self.source), artifact_store(self.target)
        files = compare_files(artifacts, *stores)
        different = [f"study '{each.name}'" for each in studies if each.outcome == "replaced"]
        different += [f"artifact {each}" for each in files.different]
        if different and not self.overwrite:
            more = f" and {len(different) - 1} more" if len(different) > 1 else ""
            raise StorageError(
                f"{different[0]}{more}: {describe(self.target)} has something else under that "
                "name, so nothing was copied; --overwrite replaces what it has"
            )
        files = replace(files, copied=files.copied + files.different, different=())
        rows: Mapping[str, CopiedRows] = {}
        if self.records is not None and VERSION_TABLE in _tables(self.target):
            with opened_tables(self.target, [VERSION_TABLE]) as (connection, meta):
                version = connection.execute(sqlalchemy.select(meta.tables[VERSION_TABLE])).scalar()
                rows = self._copy_records(connection if version == SCHEMA_VERSION else None)
        elif self.records is not None:
            rows = self._copy_records(None)
        places = describe(self.source), describe(self.target)
        return Copied(*places, True, tuple(studies), rows, files)

    def carry_out(self, plan: Copied) -> Copied:
        """Write what is not there."""
        for number, each in enumerate(plan.artifacts.copied):
            self.told(f"artifact {each}", number, len(plan.artifacts.copied))
            copy_file(each, artifact_store(self.source), artifact_store(self.target))
        studies, rows = plan.studies, plan.records
        if any(each.outcome != "there" for each in studies):
            with closing(open_storage(self.target)) as target:
                studies = tuple(self._write_studies(plan, target))
        if any(row.copied for row in rows.values()):
            with records(self.target) as engine, engine.begin() as connection:
                rows = self._copy_records(connection, write=True)
        return replace(plan, dry_run=False, studies=studies, records=rows)

    def _read(self, name: str) -> WholeStudy:
        """A study of the source."""
        assert self.studies is not None
        mine = read_study(self.studies, name, whole_seconds=self.whole_seconds, settle=True)
        check_at_rest(self.source, mine)
        return mine

    def _compared(self, mine: WholeStudy, there: PatientStorage | None) -> CopiedStudy:
        outcome = "copied"
        if there is not None:
            other = read_study(there, mine.name, whole_seconds=self.whole_seconds)
            outcome = "there" if other.sha256 == mine.sha256 else "replaced"
            if outcome == "replaced":
                check_at_rest(self.target, other)
        return CopiedStudy(mine.name, outcome, mine.states, len(mine.running), mine.sha256)

    def _write_studies(self, plan: Copied, target: PatientStorage) -> Iterator[CopiedStudy]:
        total = sum(sum(e.trials.values()) for e in plan.studies if e.outcome != "there")
        before = 0
        for each in plan.studies:
            if each.outcome == "there":
                yield each
                continue

            def advance(done: int, name: str = each.name, before: int = before) -> None:
                self.told(name, before + done, total)

            mine = self._read(each.name)
            write_study(
                target, self.target, mine, whole_seconds=self.whole_seconds, told=advance
            )
            before += len(mine.trials)
            yield CopiedStudy(
                mine.name, each.outcome, mine.states, len(mine.running), mine.sha256
            )

    def _copy_records(
        self, target: Connection | None, *, write: bool = False
    ) -> Mapping[str, CopiedRows]:
        assert self.records is not None

        def advance(table: str) -> None:
            if write:
                self.told(table, 0, 1)

        return copy_records(
            self.records, target, study=self.study, overwrite=self.overwrite,
            whole_seconds=self.whole_seconds, write=write, told=advance,
        )  # fmt: skip
