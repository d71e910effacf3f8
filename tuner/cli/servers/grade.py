"""``lime-tuner grade``: the grading server."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from explainers.errors import InvalidInput
from studies.export import FIRST_FRESH_SEED
from studies.records import records
from studies.storage import absolute_url
from studies.web.evaluator import TASK_PREFIX, EvaluatorProcess, GradingTask, Limits, write_task
from studies.web.grading import GradingService, create_app
from studies.web.http import run_server
from studies.web.listener import Listener, bound_socket
from studies.web.server_log import log_to_stderr
from studies.web.tokens import hashed_lines, read_tokens
from tuner.cli.context import Workplace, open_workplace
from tuner.cli.options import (
    CatalogOptions,
    ClassifierOptions,
    GradesOption,
    ReferenceOptions,
    takes_groups,
)
from tuner.cli.output import console, errors
from tuner.cli.servers.serving import address_of, check_installed, check_least
from tuner.ending import tidy_end
from tuner.log_file import hush_warnings
from tuner.options import LIMITS, SERVER, WHAT

__all__ = ["grade"]

_NEEDED = {each: each for each in ("fastapi", "uvicorn", "multipart", "psutil")}


@takes_groups
def grade(
    catalog: CatalogOptions,
    classifier: ClassifierOptions,
    reference: ReferenceOptions,
    grades: GradesOption,
    tokens: Annotated[
        Path | None,
        typer.Option(
            help="File of lines 'TEAM TOKEN' or 'TEAM sha256:HEX'.",
            show_default=False,
            rich_help_panel=SERVER,
        ),
    ] = None,
    hash_tokens: Annotated[
        bool,
        typer.Option(
            "--hash-tokens",
            help="Print --tokens with hashes for tokens, and end.",
            rich_help_panel=SERVER,
        ),
    ] = False,
    truth: Annotated[
        Path | None,
        typer.Option(help="Folder with a mask per key; or give --reference.", rich_help_panel=WHAT),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", rich_help_panel=SERVER)] = 8000,
    slots: Annotated[
        int,
        typer.Option(
            help="Evaluations at a time; more than one disturb each other's clock.",
            rich_help_panel=SERVER,
        ),
    ] = 1,
    queue: Annotated[
        int, typer.Option(help="Submissions that may wait.", rich_help_panel=LIMITS)
    ] = 8,
    per_hour: Annotated[
        int, typer.Option(help="Submissions a team may make.", rich_help_panel=LIMITS)
    ] = 30,
    repeats: Annotated[
        int, typer.Option(help="Explanations of each image.", rich_help_panel=SERVER)
    ] = 1,
    seed: Annotated[
        int, typer.Option(help="Of the first explanation of each image.", rich_help_panel=SERVER)
    ] = 0,
    cutoff: Annotated[
        float, typer.Option(help="Seconds for a whole submission.", rich_help_panel=LIMITS)
    ] = 600.0,
    memory: Annotated[
        int, typer.Option(help="Megabytes for an evaluation.", rich_help_panel=LIMITS)
    ] = 4000,
    max_samples: Annotated[
        int, typer.Option(help="Of an explanation.", rich_help_panel=LIMITS)
    ] = 5000,
    max_batch: Annotated[
        int, typer.Option(help="Samples classified at once.", rich_help_panel=LIMITS)
    ] = 500,
    max_superpixels: Annotated[
        int, typer.Option(help="Of an image.", rich_help_panel=LIMITS)
    ] = 1000,
) -> None:
    """Serve the grading protocol: POST /lime, GET /score_board.

    Submissions are read as data, never run; each is explained by stock lime in a process of its
    own that is killed at the cut-off.
    """
    if tokens is None:
        raise InvalidInput("--tokens FILE is missing: one line 'TEAM TOKEN' for every team")
    if hash_tokens:
        for line in hashed_lines(tokens):
            console.print(line, markup=False, soft_wrap=True)
        return
    check_least(
        {
            "slots": slots, "queue": queue, "per-hour": per_hour, "repeats": repeats,
            "cutoff": cutoff, "memory": memory, "max-samples": max_samples, "max-batch": max_batch,
            "max-superpixels": max_superpixels,
        },
        {"queue": 0},
    )  # fmt: skip
    check_installed("grade", _NEEDED)
    limits = Limits(
        samples=max_samples, batch=max_batch, superpixels=max_superpixels, cutoff=cutoff,
        memory_mb=memory,
    )  # fmt: skip
    teams = read_tokens(tokens)
    if truth is not None and not truth.is_dir():
        raise InvalidInput(f"--truth {truth} is no folder: give one with a mask per key")
    url = absolute_url(grades.storage)
    with records(url):
        pass  # fails here, before the slow work
    rule = str(truth) if truth is not None else reference.reference
    with (
        tidy_end(),
        bound_socket(host, port) as bound,
        tempfile.TemporaryDirectory(prefix=TASK_PREFIX) as folder,
    ):
        workspace = open_workplace(catalog, classifier)
        task = _task(workspace, rule, named=truth is None, slots=slots, repeats=repeats, seed=seed)
        write_task(task, Path(folder))
        service = GradingService(
            task=task, tokens=teams, limits=limits, storage=url,
            evaluators=tuple(EvaluatorProcess(Path(folder)) for _ in range(slots)),
            per_hour=per_hour, capacity=queue,
        )  # fmt: skip
        _serve(service, bound)


def _task(
    workspace: Workplace, rule: str | None, *, named: bool, slots: int, repeats: int, seed: int
) -> GradingTask:
    loaded = workspace.load_images()
    references = workspace.references(loaded, rule)
    spec = workspace.classifier.spec
    assert spec is not None
    return GradingTask(
        images={image.key: image.pixels for image in loaded},
        references={image.key: references[image.key].mask for image in loaded},
        # The path of the masks on this machine is not published.
        rule=(rule or workspace.catalog.reference) if named else "the course's own masks",
        classifier_spec=spec,
        repeats=repeats,
        first_seed=FIRST_FRESH_SEED + seed,
        threads=max(1, (os.cpu_count() or 1) // slots),
    )


def _serve(service: GradingService, bound: Listener) -> None:
    try:
        for evaluator in service.evaluators:
            evaluator.start()  # errors at the start are raised here
        hush_warnings()
        log_to_stderr()
        teams = len(set(service.tokens.teams.values()))
        errors.print(
            f"grading {len(service.task.keys)} images for {teams} teams on {address_of(bound)}; "
            "Ctrl-C ends it", markup=False,
        )  # fmt: skip
        run_server(create_app(service), bound)
    finally:
        for evaluator in service.evaluators:
            evaluator.kill()
