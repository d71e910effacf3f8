"""``lime-tuner report``: one page over the database, with figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options
from tuner.cli.context import DEFAULT_CATALOG
from tuner.cli.output import console, work_progress, write_json
from tuner.cli.settings import setting

__all__ = ["report"]


def report(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")] = Path(
        "report"
    ),
    study: options.Study = None,
    catalog: options.Catalog = None,
    storage: options.Storage = None,
    as_json: options.AsJson = False,
) -> None:
    """Write index.html (opens from disk), figures/*.png and *.svg, and tables/*.csv.

    Everything comes from the storage: what tune, compare, verify and dissect have recorded there.
    """
    import optuna

    from dissection.labels import latest_dissections
    from dissection.report import dissection_part
    from studies.catalog import load_catalog
    from studies.report import write_report
    from studies.storage import DEFAULT_STORAGE, check_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # importance makes studies in memory
    source = setting("catalog", catalog, DEFAULT_CATALOG)
    prefix = setting("study", study) or load_catalog(source).name
    url = setting("storage", storage, DEFAULT_STORAGE)
    check_storage(url, write=False)  # one that does not exist is told, not made
    dissection = dissection_part(latest_dissections(url))
    with work_progress("report") as advance:
        written = write_report(url, prefix, output, advance, dissection=dissection)
    if as_json:
        write_json({"files": [str(path) for path in written]})
    else:
        console.print(f"wrote {written[0]} and {len(written) - 1} figures and tables")
