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

__all__ = ["report"]


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
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # parameter importance creates studies
    prefix, url = where.study or load_catalog(catalog.catalog).name, where.storage
    check_storage(url, write=False)  # fails if it does not exist, instead of creating it
    dissection = dissection_part(latest_dissections(url))
    with work_progress("report") as advance:
        written = write_report(url, prefix, output, advance, dissection=dissection)
    if as_json:
        write_json({"files": [str(path) for path in written]})
    else:
        console.print(f"wrote {written[0]} and {len(written) - 1} figures and tables")
