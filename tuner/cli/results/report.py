"""``lime-tuner report``: one page over the database, with figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import optuna
import typer

from dissection.labels import latest_dissections
from dissection.report import dissection_part
from studies.catalog import load_catalog
from studies.report import write_report
from studies.storage import check_storage
from tuner.cli.options import AsJson, CatalogOption, StudyOptions, takes_groups
from tuner.cli.output import console, work_progress, write_json
from tuner.options import OUTPUT

__all__ = ["report", "run_report"]


@takes_groups
def report(
    where: StudyOptions,
    catalog: CatalogOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write to.", rich_help_panel=OUTPUT)
    ] = Path("report"),
    as_json: AsJson = False,
) -> None:
    """Write a page on all results, with figures and tables.

    It is index.html, which opens from disk, with figures/*.png and *.svg, and tables/*.csv.
    Everything comes from the storage: what tune, compare, verify and dissect have recorded there.
    """
    prefix, url = where.study or load_catalog(catalog.catalog).name, where.storage
    check_storage(url, write=False)  # fails if it does not exist, instead of creating it
    written = run_report(url, prefix, output)
    if as_json:
        write_json({"files": [str(path) for path in written]})
    else:
        console.print(f"wrote {written[0]} and {len(written) - 1} figures and tables")


def run_report(storage: str, prefix: str, output: Path) -> list[Path]:
    """Write the report on the studies of a prefix, and return its files, the page first."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # parameter importance creates studies
    dissection = dissection_part(latest_dissections(storage))
    with work_progress("report") as advance:
        return write_report(storage, prefix, output, advance, dissection=dissection)
