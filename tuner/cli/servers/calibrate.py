"""``lime-tuner calibrate``: learn from a grading server's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explainers.cam import check_method
from studies.catalog import load_catalog
from studies.records.calibrations import add_calibration, check_calibration_name
from studies.storage import check_storage
from tuner.cli.context import open_workplace
from tuner.cli.options import (
    AsJson,
    CatalogOptions,
    ClassifierOptions,
    EngineOptions,
    ServerOption,
    StorageOptions,
    takes_groups,
)
from tuner.cli.output import write_json
from tuner.cli.servers import calibration
from tuner.options import SEARCH, WHAT
from tuner.server.rules import METHODS, parse_take

__all__ = ["calibrate"]


@takes_groups
def calibrate(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    engine: EngineOptions,
    where: StorageOptions,
    server: ServerOption,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of parameter sets and what the server answered.", rich_help_panel=WHAT
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="What the calibration is called.", rich_help_panel=WHAT)
    ] = "server",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Heat maps that the server may cut its masks from, separated by commas.  "
            "[default: those of one scale that take a few passes, and multiscale]",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=2, help="Explainer seeds of every image and parameter set.", rich_help_panel=SEARCH
        ),
    ] = 3,
    runtime_only: Annotated[
        bool,
        typer.Option(
            "--runtime-only",
            help="Only the line through the seconds; needs no classifier and no photographs.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    take: Annotated[
        str | None,
        typer.Option(
            help="Reference to tune with, whatever the answers say: METHOD@RULE, or with one of "
            "positive5, positive10, heaviest5, heaviest10 for masks: METHOD@RULE:positive10.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit runtime and reference rule to a grading server's answers.

    Answers come from --answers and from what submit has recorded in the storage. What is found is
    kept there, for tune --calibrated.
    """
    check_calibration_name(name)
    named = METHODS if methods is None else methods.split(",")
    wanted = list(dict.fromkeys(each.strip() for each in named if each.strip()))
    for each in wanted:
        check_method(each)
    taken = None if take is None else parse_take(take)
    check_storage(where.storage, write=True)
    source = load_catalog(catalog.catalog)
    known = calibration.known_answers(answers, where.storage, server.url, source)
    # Answers that cannot be fitted fail before the work.
    found = calibration.calibrated_line(known, source, taken)
    if not runtime_only:
        workspace = open_workplace(catalog, classifier)
        found = calibration.run_calibration(
            workspace, known, found, wanted, seeds, engine.engine, taken
        )
    document = found.to_json()
    add_calibration(where.storage, name, document)
    if as_json:
        write_json({"name": name, **document})
    else:
        calibration.show_calibration(name, found)
