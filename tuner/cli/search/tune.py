"""``lime-tuner tune``: search LIME's parameters for the images of a catalogue."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Annotated

import typer

from tuner.cli.context import open_workplace
from tuner.cli.job import Job, log_path, notified, notify_address
from tuner.cli.options import (
    AsJson,
    Calibrated,
    CatalogOptions,
    ClassifierOptions,
    JobOptions,
    MachineOptions,
    Portfolio,
    ReferenceOptions,
    StudyOptions,
    again,
    takes_groups,
)
from tuner.cli.output import console, write_json
from tuner.cli.search.catalog_scope import show_catalog_summary
from tuner.cli.search.tune_run import TuneRequest, run_tuning
from tuner.cli.search.tune_summary import show_summary
from tuner.options import WHAT
from tuner.portfolio import load_portfolio
from tuner.problem.settings import TuningSettings

__all__ = ["tune"]


@takes_groups
def tune(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    where: StudyOptions,
    reference: ReferenceOptions,
    settings: TuningSettings,
    machine: MachineOptions,
    job: JobOptions,
    min_reliability: Annotated[
        float,
        typer.Option(
            help="Leave out images whose reference can be trusted less, 0 to 1.",
            rich_help_panel=WHAT,
        ),
    ] = 0.0,
    target: Annotated[
        str,
        typer.Option(
            help="Class the reference is made for: top1, or catalog.", rich_help_panel=WHAT
        ),
    ] = "top1",
    portfolio: Portfolio = None,
    calibrated: Calibrated = None,
    as_json: AsJson = False,
) -> None:
    """Search LIME's parameters, in one study per image.

    Lime's defaults are always among the trials: the ninth, or the last of fewer (the first with
    --sampler tpe and random). Interrupting keeps every finished trial; the same command goes on.
    --trials counts what a study has in total.
    """
    address = notify_address(job.notify)
    # Wrong names and paths fail here, before weights are downloaded.
    workspace = open_workplace(catalog, classifier)
    if portfolio is not None:
        members = load_portfolio(portfolio, where.storage).members
        settings = replace(settings, portfolio=tuple(member.to_json() for member in members))
    request = TuneRequest(
        storage=where.storage,
        study=where.study or workspace.catalog.name,
        reference=reference.reference,
        settings=settings,
        machine=machine,
        min_reliability=min_reliability,
        target=target,
        calibrated=calibrated,
        log=log_path(job.log, where.storage),
    )
    with notified(Job("tune", request.storage, request.study), address):
        summary = run_tuning(workspace, request)
    if as_json:
        write_json(summary)
        return
    if settings.of_catalog:
        show_catalog_summary(summary)
    else:
        show_summary(summary)
    told = again(catalog, classifier, where, reference)
    told += "" if calibrated is None else f" --calibrated {shlex.quote(calibrated)}"
    console.print(f"next: lime-tuner export{told}", soft_wrap=True)
