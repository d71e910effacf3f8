"""Copy a storage into another: compare both, plan, then write study by study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import sqlalchemy
from sqlalchemy import Connection

from explainers.errors import InvalidInput, StorageError
from studies.copying.artifact_files import CopiedFiles, compare_files, copy_file
from studies.copying.our_records import CopiedRows, copy_records
from studies.copying.whole_studies import (
    WholeStudy,
    check_at_rest,
    read_study,
    study_names,
    write_study,
)
from studies.records import SCHEMA_VERSION, records
from studies.records.schema import VERSION_TABLE
from studies.storage import (
    absolute_url,
    check_storage,
    connected,
    describe,
    errors_told,
    holds_studies,
    open_storage,
    parse_url,
    sqlite_path,
)
from studies.storage.artifacts import Artifacts, artifact_store
from studies.storage.reconnecting import ReconnectingStorage

__all__ = ["Copied", "CopiedStudy", "copy_storage"]

_OURS = "lime_tuner_"
_WHOLE_SECONDS = ("mysql", "mariadb")


@dataclass(frozen=True)
class CopiedStudy:
    """The outcome of one study.

    Attributes:
        outcome: ``copied``, ``replaced``, or ``there`` when the target already had the same.
        trials: number of trials in the target, by state.
        interrupted: how many of them the source has as running although no worker is on them any
            more; they are copied as failed.
        sha256: of everything in the study except its name.
        artifacts: ids of the files that it refers to.
    """

    name: str
    outcome: str
    trials: Mapping[str, int]
    interrupted: int
    sha256: str
    artifacts: tuple[str, ...]

    @classmethod
    def of(cls, study: WholeStudy, outcome: str) -> CopiedStudy:
        ids = tuple(study.numbers.owners)
        return cls(study.name, outcome, study.states, len(study.running), study.sha256, ids)


@dataclass(frozen=True)
class Copied:
    """Result of :func:`copy_storage`; with ``dry_run``, what it would copy.

    Attributes:
        source, target: URLs without passwords.
        records: by name of our table; empty where the source has no tables of ours.
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
    on_progress: Callable[[str, float, float], None] = lambda what, done, total: None,
) -> Copied:
    """Copy studies, our records and artifacts from a storage into another, and compare them.

    First everything is compared; where the target has something else under the same name, nothing
    is copied. Then artifacts are written, then studies one by one, then all records in one
    transaction. A study is written as ``(unfinished copy) STUDY``, read back and compared, and
    then renamed. A later call deletes the unfinished study of an interrupted one, and copies the
    studies that are still missing.

    The source is only read, except that records of an older lime-tuner are migrated, as every
    command does that opens them.

    Args:
        study: only the studies named ``STUDY`` or ``STUDY/...``, and records that name it.
        overwrite: replace studies, artifacts and records of the target that differ.
        dry_run: write nothing. Records of an older version in the target count as none.
        on_progress: called with (what, steps done, of how many).

    Raises:
        InvalidInput: both are the same storage, or no study has that name.
        StorageError: a storage cannot be used, a study is being worked on, the target has something
            else under the same name, or a copy differs from its source.
    """
    if absolute_url(source) == absolute_url(target):
        raise InvalidInput(
            f"--from and --to are the same storage ({describe(source)}): give another --to"
        )
    with ExitStack() as stack:
        stack.enter_context(errors_told(source))
        has_records = any(name.startswith(_OURS) for name in _tables(source))
        # A grading server's storage has records of ours and no studies.
        if not has_records or holds_studies(source):
            check_storage(source, write=False)
        check_storage(target, write=True)
        studies = stack.enter_context(_studies(source))
        rows = stack.enter_context(_records(source)) if has_records else None
        stack.enter_context(errors_told(target))
        job = _Copy(source, target, study, overwrite, on_progress, studies, rows)
        plan = job.plan()
        return plan if dry_run else job.carry_out(plan)


def _tables(url: str) -> list[str]:
    """Return the names of all tables; none where there is no database yet."""
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        return []
    with connected(url) as connection:
        return sqlalchemy.inspect(connection).get_table_names()


@contextmanager
def _studies(url: str) -> Iterator[ReconnectingStorage | None]:
    """Open a storage for reading; ``None`` where there are no studies."""
    if not holds_studies(url):
        yield None
        return
    with closing(open_storage(url, write=False)) as storage:
        yield storage


@contextmanager
def _records(url: str) -> Iterator[Connection]:
    """Open our tables, migrated to the newest version; later writes of others are not seen."""
    with records(url) as engine, engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def _records_so_far(url: str) -> Iterator[Connection | None]:
    """Open our tables without migration; ``None`` where they are missing or of another version."""
    if VERSION_TABLE not in _tables(url):
        yield None
        return
    with connected(url) as connection:
        table = sqlalchemy.Table(VERSION_TABLE, sqlalchemy.MetaData(), autoload_with=connection)
        version = connection.execute(sqlalchemy.select(table)).scalar()
        yield connection if version == SCHEMA_VERSION else None


@dataclass
class _Copy:
    """The arguments of :func:`copy_storage`, and the opened source.

    Attributes:
        studies, records: of the source; ``None`` where it has none.
    """

    source: str
    target: str
    study: str | None
    overwrite: bool
    on_progress: Callable[[str, float, float], None]
    studies: ReconnectingStorage | None
    records: Connection | None

    @property
    def whole_seconds(self) -> bool:
        """Whether one of the databases keeps no fractions of seconds."""
        urls = (self.source, self.target)
        return any(parse_url(url).get_backend_name() in _WHOLE_SECONDS for url in urls)

    @property
    def stores(self) -> tuple[Artifacts, Artifacts]:
        """The artifact stores of source and target."""
        return artifact_store(self.source), artifact_store(self.target)

    def plan(self) -> Copied:
        """Compare everything and write nothing.

        Raises:
            InvalidInput: no study has the requested name.
            StorageError: the target has something else under the same name, without ``overwrite``.
        """
        names = study_names(self.studies, self.study)
        if self.study is not None and not names:
            known = sorted({name.partition("/")[0] for name in study_names(self.studies)})
            raise InvalidInput(
                f"no study in {describe(self.source)} is named '{self.study}' or "
                f"'{self.study}/…': it has {', '.join(known) or 'none'}"
            )
        studies = []
        with _studies(self.target) as target:
            there = study_names(target)
            for number, name in enumerate(names):
                self.on_progress(f"compare {name}", number, len(names))
                studies.append(self._plan_study(name, target if name in there else None))
        ids = [each for study in studies for each in study.artifacts]
        files = compare_files(ids, *self.stores)
        different = [f"study '{each.name}'" for each in studies if each.outcome == "replaced"]
        different += [f"artifact {each}" for each in files.different]
        if different and not self.overwrite:
            more = f" and {len(different) - 1} more" if len(different) > 1 else ""
            raise StorageError(
                f"{different[0]}{more}: {describe(self.target)} has something else under that "
                "name, so nothing was copied; --overwrite replaces what it has"
            )
        files = replace(files, copied=files.copied + files.different, different=())
        with _records_so_far(self.target) as connection:
            rows = self._copy_records(connection, write=False)
        places = describe(self.source), describe(self.target)
        return Copied(*places, True, tuple(studies), rows, files)

    def _plan_study(self, name: str, target: ReconnectingStorage | None) -> CopiedStudy:
        mine = self._read(name)
        if target is None:
            return CopiedStudy.of(mine, "copied")
        theirs = read_study(target, name, whole_seconds=self.whole_seconds)
        if theirs.sha256 == mine.sha256:
            return CopiedStudy.of(mine, "there")
        check_at_rest(self.target, theirs)
        return CopiedStudy.of(mine, "replaced")

    def _read(self, name: str) -> WholeStudy:
        """Read a study of the source.

        Raises:
            StorageError: a worker is on one of its trials.
        """
        assert self.studies is not None
        study = read_study(self.studies, name, whole_seconds=self.whole_seconds, settle=True)
        check_at_rest(self.source, study)
        return study

    def carry_out(self, plan: Copied) -> Copied:
        """Write what the target lacks: artifacts before the studies that name them."""
        for number, each in enumerate(plan.artifacts.copied):
            self.on_progress(f"artifact {each}", number, len(plan.artifacts.copied))
            copy_file(each, *self.stores)
        with closing(open_storage(self.target)) as target:
            studies = tuple(self._write_studies(plan.studies, target))
        with records(self.target) as engine, engine.begin() as connection:
            rows = self._copy_records(connection, write=True)
        return replace(plan, dry_run=False, studies=studies, records=rows)

    def _write_studies(
        self, planned: Sequence[CopiedStudy], target: ReconnectingStorage
    ) -> Iterator[CopiedStudy]:
        counts = [sum(e.trials.values()) if e.outcome != "there" else 0 for e in planned]
        for number, each in enumerate(planned):
            if each.outcome == "there":
                yield each
                continue
            study, before, total = self._read(each.name), sum(counts[:number]), sum(counts)
            on_progress = partial(self._tell, each.name, before, total)
            write_study(
                target,
                self.target,
                study,
                whole_seconds=self.whole_seconds,
                on_progress=on_progress,
            )
            yield CopiedStudy.of(study, each.outcome)

    def _tell(self, name: str, before: int, total: int, done: int) -> None:
        self.on_progress(name, before + done, total)

    def _tell_table(self, write: bool, table: str) -> None:
        self.on_progress(table if write else f"compare {table}", 0, 1)

    def _copy_records(self, target: Connection | None, *, write: bool) -> Mapping[str, CopiedRows]:
        if self.records is None:
            return {}
        return copy_records(
            self.records, target, study=self.study, overwrite=self.overwrite,
            whole_seconds=self.whole_seconds, write=write,
            on_progress=partial(self._tell_table, write),
        )  # fmt: skip
