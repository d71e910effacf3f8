"""``lime-tuner submit`` and ``leaderboard``: the client of a grading server."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from explainers.errors import InvalidInput, StorageError, SubmissionError
from studies.records import add_submission, submissions
from studies.storage import check_storage
from studies.submission.client import check_token, send, unencrypted_warning
from studies.submission.requests import GRADING, parse_address
from studies.submission.score_board import fetch_board
from tuner.cli.options import (
    AsJson,
    CatalogOption,
    CutoffOption,
    ServerOption,
    StorageOptions,
    StudyOptions,
    takes_groups,
)
from tuner.cli.output import console, errors, write_json
from tuner.cli.servers.submission import pack, show_answer, show_board, show_submission
from tuner.options import BUDGET, WHAT

__all__ = ["leaderboard", "submit"]

_TOKEN = "LIME_TUNER_TOKEN"


@takes_groups
def submit(
    server: ServerOption,
    limit: CutoffOption,
    where: StudyOptions,
    catalog: CatalogOption,
    file: Annotated[
        Path | None,
        typer.Argument(help="A pickle of LIME parameters; without one the study is exported."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the evaluation.", rich_help_panel=BUDGET)
    ] = 900,
    retries: Annotated[
        int,
        typer.Option(
            help="How often a server that fails is asked again.",
            min=0,
            max=10,
            rich_help_panel=BUDGET,
        ),
    ] = 3,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check and show everything, send nothing.", rich_help_panel=WHAT
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Send also what is predicted to be worse than the last answer.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a pickle to a grading server, and record its result.

    The token comes from the environment variable LIME_TUNER_TOKEN, from nowhere else.
    """
    url = _url(server)
    address = parse_address(url)
    if not 0 < timeout < math.inf:
        raise InvalidInput(f"--timeout {timeout!r}: give seconds, more than 0")
    token = None if dry_run else check_token(_token())
    database = where.storage
    if not dry_run:
        check_storage(database, write=True)  # send nothing that could not be recorded
    sent = pack(file, catalog_source=catalog.catalog, study=where.study, storage=database)
    unchecked = None if limit.cutoff is None else sent.check_cutoff(limit.cutoff)
    earlier = submissions(database, address.base)
    worse = sent.worse_than(earlier[-1]) if earlier else ""
    if worse and not (yes or dry_run or _on_terminal()):
        raise InvalidInput(f"{worse}: nothing was sent, --yes sends it all the same")
    if not as_json:
        show_submission(sent, address.page(GRADING))
    for warning in (unchecked, worse, None if dry_run else unencrypted_warning(address)):
        if warning:
            errors.print(warning)
    if token is None:
        if as_json:
            write_json(sent.document(address.base, None))
        else:
            console.print("nothing was sent: this was a dry run")
        return
    if worse and not yes and not typer.confirm("Send it all the same?", err=True):
        raise SubmissionError("nothing was sent, as you have decided")
    with _waiting(f"{address.base} evaluates") as on_message:
        answer = send(
            url, token, sent.data, read_seconds=timeout, retries=retries, on_message=on_message
        )
    failure: StorageError | None = None
    try:
        add_submission(database, sent.answered(address.base, answer))
    except StorageError as error:
        failure = error  # raised after the answer is shown, which cannot be asked for again
    if as_json:
        write_json(sent.document(address.base, answer))
    else:
        show_answer(answer, sent.predicted, address.base, earlier)
    if failure is not None:
        raise failure


@takes_groups
def leaderboard(server: ServerOption, where: StorageOptions, as_json: AsJson = False) -> None:
    """Show a grading server's score board, our own results marked."""
    url = _url(server)
    address = parse_address(url)
    mine = submissions(where.storage, address.base)
    rows = fetch_board(url)
    ours = [
        next((each.at for each in reversed(mine) if row.shows(each.avg_iou, each.avg_time)), None)
        for row in rows
    ]
    if not as_json:
        show_board(rows, ours, address.base)
        return
    shown = ("team", "iou", "seconds", "submitted")
    lines = [
        {
            **{name: getattr(row, name) for name in shown},
            "ours": None if at is None else at.isoformat(timespec="seconds"),
        }
        for row, at in zip(rows, ours, strict=True)
    ]
    write_json({"url": address.base, "rows": lines})


def _url(server: ServerOption) -> str:
    if server.url is None:
        raise InvalidInput("no server is named: give --url URL, or url = ... in lime-tuner.toml")
    return server.url


def _token() -> str:
    token = os.environ.get(_TOKEN)
    if token is None:
        raise InvalidInput(
            f"{_TOKEN} is not set: put your team's token into that environment variable, or try "
            "--dry-run, which needs none"
        )
    return token


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def _waiting(title: str) -> Iterator[Callable[[str], None]]:
    """Show the elapsed time and messages while the server works; only on a terminal."""
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}, elapsed", markup=False),
        TimeElapsedColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip

    def show(message: str) -> None:
        if errors.is_terminal:
            progress.console.print(message)

    with progress:
        progress.add_task(title, total=None)
        try:
            yield show
        except KeyboardInterrupt:
            errors.print("the server may go on: lime-tuner leaderboard shows what it has")
            raise
