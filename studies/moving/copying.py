"""A storage copied into another: looked at, planned, written study by study, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from explainers.errors import InvalidInput, StorageError
from studies.artifacts import artifact_store
from studies.moving.artifact_files import CopiedFiles, compare_files, copy_file
from studies.moving.optuna_studies import (
    artifact_owners,
    check_at_rest,
    content_digest,
    study_keys,
    study_tables,
    trial_counts,
)
from studies.moving.our_records import CopiedRows, copy_records
from studies.moving.sides import (
    Side,
    check_sides,
    keeps_whole_seconds,
    ready_target,
    source_side,
    target_side,
    told_in_one_line,
)
from studies.moving.study_writing import delete_study, write_study
from studies.storage import describe, errors_told

__all__ = ["Copied", "CopiedStudy", "copy_storage"]

Told = Callable[[str, float, float], None]


@dataclass(frozen=True)
class CopiedStudy:
    """What became of a study.

    Attributes:
        outcome: ``copied``, ``replaced``, or ``there`` when the target had the same.
        trials: by state, as they are in the target.
        interrupted: how many of them are running in the source, with nobody at work on them any
            more; they arrive as failed.
        sha256: of everything in it; ``None`` where it was not computed.
    """

    name: str
    outcome: str
    trials: Mapping[str, int]
    interrupted: int
    sha256: str | None


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


@dataclass(frozen=True)
class _Order:
    """What was asked for. ``whole``: times to the second, because one side keeps no more."""

    source: str
    target: str
    study: str | None
    overwrite: bool
    whole: bool
    told: Told


def copy_storage(
    source: str,
    target: str,
    *,
    study: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    told: Told = lambda what, done, total: None,
) -> Copied:
    """Copy studies, our records and artifacts from a storage into another, and compare them.

    First everything is looked at; where the target has something else under a name, nothing is
    copied. Then artifacts are written, then studies, each in a transaction that also reads it back
    and compares it, then all records in one. So an interrupted copy has whole studies only, and the
    next one goes on with what is missing.

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
    check_sides(source, target)
    whole = keeps_whole_seconds(source) or keeps_whole_seconds(target)
    order = _Order(source, target, study, overwrite, whole, told)
    with errors_told(source), source_side(source) as here:
        with errors_told(target), target_side(target) as there:
            plan = _plan(here, there, order)
        if dry_run:
            return plan
        files = plan.artifacts
        for number, each in enumerate(files.copied):
            told(f"artifact {each}", number, len(files.copied))
            copy_file(each, artifact_store(source), artifact_store(target))
        if not _has_rows(plan):
            return replace(plan, dry_run=False)
        with errors_told(target), ready_target(target) as engine:
            studies = tuple(_write_studies(here, engine, plan, order))
            rows = _write_records(here, engine, order) if here.records else {}
    return replace(plan, dry_run=False, studies=studies, records=rows)


def _plan(here: Side, there: Side | None, order: _Order) -> Copied:
    """What is to be done.

    Raises:
        InvalidInput, StorageError: see :func:`copy_storage`.
    """
    wanted = here.studies(order.study)
    if order.study is not None and not wanted:
        known = sorted({name.partition("/")[0] for name in here.studies()})
        raise InvalidInput(
            f"no study in {describe(order.source)} is named '{order.study}' or '{order.study}/…': "
            f"it has {', '.join(known) or 'none'}"
        )
    theirs = {} if there is None else there.studies()
    studies = []
    for number, (name, key) in enumerate(wanted.items()):
        order.told(f"compare {name}", number, len(wanted))
        studies.append(_plan_study(here, name, key, there, theirs.get(name), order.whole))
    files = CopiedFiles()
    if here.tables is not None:
        ids = [
            each
            for key in wanted.values()
            for each in artifact_owners(here.connection, here.tables, key)
        ]
        files = compare_files(ids, artifact_store(order.source), artifact_store(order.target))
    different = [f"study '{each.name}'" for each in studies if each.outcome == "replaced"]
    different += [f"artifact {each}" for each in files.different]
    if different and not order.overwrite:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise StorageError(
            f"{different[0]}{more}: {describe(order.target)} has something else under that name, "
            "so nothing was copied; --overwrite replaces what it has"
        )
    rows: Mapping[str, CopiedRows] = {}
    if here.records:
        rows = copy_records(
            here.connection,
            there.connection if there is not None and there.records else None,
            study=order.study,
            overwrite=order.overwrite,
            whole=order.whole,
            write=False,
        )
    files = replace(files, copied=files.copied + files.different, different=())
    return Copied(
        describe(order.source), describe(order.target), True, tuple(studies), rows, files
    )


def _has_rows(plan: Copied) -> bool:
    """Whether anything is to be written to the database."""
    new = any(each.outcome != "there" for each in plan.studies)
    return new or any(row.copied for row in plan.records.values())


def _plan_study(
    here: Side, name: str, key: int, there: Side | None, other: int | None, whole: bool
) -> CopiedStudy:
    assert here.tables is not None
    check_at_rest(here.connection, here.tables, name, key, here.url)
    states = trial_counts(here.connection, here.tables, key)
    interrupted = states.pop("RUNNING", 0)
    if interrupted:
        states["FAIL"] = states.get("FAIL", 0) + interrupted
    if there is None or there.tables is None or other is None:
        return CopiedStudy(name, "copied", states, interrupted, None)
    mine = content_digest(here.connection, here.tables, key, whole=whole)
    if mine == content_digest(there.connection, there.tables, other, whole=whole):
        return CopiedStudy(name, "there", states, interrupted, mine)
    check_at_rest(there.connection, there.tables, name, other, there.url)
    return CopiedStudy(name, "replaced", states, interrupted, mine)


def _write_studies(
    here: Side, engine: Engine, plan: Copied, order: _Order
) -> Iterator[CopiedStudy]:
    """Every study in a transaction of its own: it is there, compared, or not at all."""
    if here.tables is None:
        return
    with engine.connect() as connection:
        tables = study_tables(connection, order.target, settle=False)
    keys = here.studies()
    total = sum(sum(e.trials.values()) for e in plan.studies if e.outcome != "there")
    before = 0
    for each in plan.studies:
        if each.outcome == "there":
            yield each
            continue

        def advance(done: int, name: str = each.name, before: int = before) -> None:
            order.told(name, before + done, total)

        doing = f"cannot take study '{each.name}'"
        with told_in_one_line(order.target, doing), engine.begin() as connection:
            if each.outcome == "replaced":
                old = study_keys(connection, tables, None).get(each.name)
                if old is not None:
                    delete_study(connection, tables, old)
            sha256, states = write_study(
                here.connection, here.tables, keys[each.name], connection, tables,
                whole=order.whole, told=advance,
            )  # fmt: skip
        before += sum(states.values())
        yield replace(each, trials=states, sha256=sha256)


def _write_records(here: Side, engine: Engine, order: _Order) -> dict[str, CopiedRows]:
    with engine.begin() as connection:
        return copy_records(
            here.connection,
            connection,
            study=order.study,
            overwrite=order.overwrite,
            whole=order.whole,
            write=True,
            told=lambda table: order.told(table, 0, 1),
        )
