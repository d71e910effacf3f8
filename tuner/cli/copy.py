"""``lime-tuner copy``: studies, records and artifacts from one storage into another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import optuna
import typer

from studies.copying import copy_storage
from tuner.cli.options import AsJson, SourceOption, takes_groups
from tuner.cli.output import console, errors, table, work_progress, write_json
from tuner.options import WHAT

if TYPE_CHECKING:
    from studies.copying import Copied

__all__ = ["copy"]

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "WAITING": "waiting"}
_OUTCOMES = {"copied": "copied", "replaced": "replaced", "there": "there already"}
_PLANNED = {"copied": "to copy", "replaced": "to replace", "there": "there already"}


@takes_groups
def copy(
    source: SourceOption,
    target: Annotated[
        str, typer.Option("--to", help="Database URL to copy into.", rich_help_panel=WHAT)
    ],
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            help="Only studies with this prefix, and of the records only comparisons and "
            "submissions that name it.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace studies and artifacts that differ; the target's are lost.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Compare and show everything, write nothing.", rich_help_panel=WHAT
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy studies, records and artifacts into another storage.

    What arrived is compared. What the target has already is not copied again, and with other
    content it is refused. A study is there whole or not at all, also after an interruption.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with work_progress("copy") as advance:
        copied = copy_storage(
            source.storage,
            target,
            study=study,
            overwrite=overwrite,
            dry_run=dry_run,
            on_progress=advance,
        )
    if as_json:
        write_json(_document(copied))
    else:
        _show(copied, study)


def _show(copied: Copied, study: str | None) -> None:
    outcomes = _PLANNED if copied.dry_run else _OUTCOMES
    if copied.studies:
        shown = table(
            f"{copied.source} → {copied.target}", "study", "outcome", *_STATES.values(), "sha256",
            leave_out=("sha256", "waiting"),
        )  # fmt: skip
        for each in copied.studies:
            counts = [str(each.trials.get(state, 0)) for state in _STATES]
            digest = (each.sha256 or "")[:12]
            shown.add_row(each.name, outcomes[each.outcome], *counts, digest)
        console.print(shown)
    rows = {name: row for name, row in copied.records.items() if row.copied or row.there}
    if rows:
        shown = table("records", "table", outcomes["copied"], outcomes["there"])
        for name, row in rows.items():
            shown.add_row(name, str(row.copied), str(row.there))
        console.print(shown)
    files = copied.artifacts
    if files.copied or files.there:
        console.print(
            f"artifacts: {len(files.copied)} {outcomes['copied']}, "
            f"{len(files.there)} {outcomes['there']}"
        )
    if not copied.studies and not rows:
        console.print(f"{copied.source} has nothing to copy")
    for line in _remarks(copied, study):
        errors.print(line, markup=False)
    if copied.dry_run:
        console.print("nothing was written: this was a dry run")


def _remarks(copied: Copied, study: str | None) -> list[str]:
    """Lines on what differs in the copy, and on what was not copied."""
    found = []
    interrupted = sum(each.interrupted for each in copied.studies)
    if interrupted:
        found.append(
            f"{interrupted} trials were left running by somebody who is gone: as copies they have "
            "failed"
        )
    if copied.artifacts.missing:
        found.append(
            f"{len(copied.artifacts.missing)} artifacts have no file, here or there, e.g. "
            f"{copied.artifacts.missing[0]}"
        )
    left = {name: row.left for name, row in copied.records.items() if row.left}
    if left:
        counts = ", ".join(f"{count} in {name}" for name, count in left.items())
        found.append(
            f"rows of comparisons that are not finished stay ({counts}): finish them with "
            "lime-tuner compare, then copy again"
        )
    skipped = [name for name, row in copied.records.items() if row.skipped]
    if skipped:
        found.append(
            f"not copied, because they name no study: {', '.join(skipped)}; without --study they "
            "are"
        )
    return found


def _document(copied: Copied) -> dict[str, Any]:
    """The document of ``copy --json``."""
    files = copied.artifacts
    return {
        "from": copied.source,
        "to": copied.target,
        "dry_run": copied.dry_run,
        "studies": {
            each.name: {
                "outcome": each.outcome,
                "trials": dict(each.trials),
                "interrupted": each.interrupted,
                "sha256": each.sha256,
            }
            for each in copied.studies
        },
        "records": {
            name: {"copied": row.copied, "there": row.there, "left": row.left}
            for name, row in copied.records.items()
            if not row.skipped
        },
        "artifacts": {
            "copied": len(files.copied), "there": len(files.there), "missing": list(files.missing),
        },
        "skipped_tables": [name for name, row in copied.records.items() if row.skipped],
    }  # fmt: skip
