"""``lime-tuner submit`` and ``leaderboard``: the student's side of a grading server."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from explainers.errors import InvalidInput, StorageError, SubmissionError
from tuner.cli import options
from tuner.cli.context import DEFAULT_CATALOG
from tuner.cli.output import console, errors, write_json
from tuner.cli.parcel import Parcel, check_cutoff, pack
from tuner.cli.settings import setting
from tuner.cli.submission_tables import show_answer, show_board, show_parcel

if TYPE_CHECKING:
    from studies.predicted import Prediction
    from studies.records import Submitted
    from studies.submission import Answer

__all__ = ["leaderboard", "submit"]

_TOKEN = "LIME_TUNER_TOKEN"

Url = Annotated[
    str | None, typer.Option("--url", help="Address of the grading server.", show_default=False)
]


def submit(
    file: Annotated[
        Path | None,
        typer.Argument(help="A pickle of LIME parameters; without one the study is exported."),
    ] = None,
    url: Url = None,
    study: options.Study = None,
    catalog: options.Catalog = None,
    storage: options.Storage = None,
    cutoff: Annotated[
        float | None,
        typer.Option(help="Send nothing that is predicted to take more seconds for all images."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the evaluation.")] = 900,
    retries: Annotated[
        int, typer.Option(help="How often a server that fails is asked again.", min=0, max=10)
    ] = 3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show everything, send nothing.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Send also what is predicted to be worse than the last answer."),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Send a pickle to a grading server, wait for its result, and record it.

    The token comes from the environment variable LIME_TUNER_TOKEN, from nowhere else.
    """
    from studies.records import submissions
    from studies.server_requests import GRADING, parse_address
    from studies.storage import DEFAULT_STORAGE, check_storage
    from studies.submission import send, unencrypted_warning

    server = _server(url)
    address = parse_address(server)
    limit = setting("cutoff", cutoff)
    _check_seconds("cutoff", limit)
    _check_seconds("timeout", timeout)
    token = None if dry_run else _token()
    database = setting("storage", storage, DEFAULT_STORAGE)
    if not dry_run:
        check_storage(database, write=True)  # what could not be recorded is not sent
    parcel = pack(
        file, catalog_source=setting("catalog", catalog, DEFAULT_CATALOG),
        study=setting("study", study), storage=database,
    )  # fmt: skip
    unchecked = None if limit is None else check_cutoff(parcel, limit)
    earlier = submissions(database, address.base)
    worse = _worse(parcel.predicted, earlier)
    if worse and not (yes or dry_run or _on_terminal()):
        raise InvalidInput(f"{worse}: nothing was sent, --yes sends it all the same")
    if not as_json:
        show_parcel(parcel, address.page(GRADING))
    for warning in (unchecked, worse, None if dry_run else unencrypted_warning(address)):
        if warning:
            errors.print(warning, markup=False)
    if token is None:
        if as_json:
            write_json(_document(address.base, parcel, None))
        else:
            console.print("nothing was sent: this was a dry run")
        return
    if worse and not yes and not typer.confirm("Send it all the same?", err=True):
        raise SubmissionError("nothing was sent, as you have decided")
    with _waiting(f"{address.base} evaluates") as told:
        answer = send(
            server, token, parcel.data, read_seconds=timeout, retries=retries, told=told
        )
    failure: StorageError | None = None
    try:
        _record(database, address.base, parcel, answer)
    except StorageError as error:
        failure = error  # the answer cannot be had again: it is shown before
    if as_json:
        write_json(_document(address.base, parcel, answer))
    else:
        show_answer(answer, parcel.predicted, address.base, earlier)
    if failure is not None:
        raise failure


def leaderboard(
    url: Url = None, storage: options.Storage = None, as_json: options.AsJson = False
) -> None:
    """Show a grading server's score board, with our own results marked."""
    from studies.records import submissions
    from studies.score_board import fetch_board
    from studies.server_requests import parse_address
    from studies.storage import DEFAULT_STORAGE

    server = _server(url)
    address = parse_address(server)
    mine = submissions(setting("storage", storage, DEFAULT_STORAGE), address.base)
    rows = fetch_board(server)
    ours = [
        next((each.at for each in reversed(mine) if row.shows(each.avg_iou, each.avg_time)), None)
        for row in rows
    ]
    if not as_json:
        show_board(rows, ours, address.base)
        return
    lines = [
        {
            "team": row.team,
            "iou": row.iou,
            "seconds": row.seconds,
            "submitted": row.submitted,
            "ours": None if at is None else at.isoformat(timespec="seconds"),
        }
        for row, at in zip(rows, ours, strict=True)
    ]
    write_json({"url": address.base, "rows": lines})


def _server(url: str | None) -> str:
    given = setting("url", url)
    if given is None:
        raise InvalidInput("no server is named: give --url URL, or url = ... in lime-tuner.toml")
    return str(given)


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise InvalidInput(f"{name} {value!r}: give seconds, more than 0")


def _token() -> str:
    from studies.submission import check_token

    token = os.environ.get(_TOKEN)
    if token is None:
        raise InvalidInput(
            f"{_TOKEN} is not set: put your team's token into that environment variable, or try "
            "--dry-run, which needs none"
        )
    return check_token(token)


def _worse(predicted: Prediction | None, earlier: Sequence[Submitted]) -> str:
    """What would be lost; empty when nothing is, as far as is known."""
    if predicted is None or not earlier:
        return ""
    last = earlier[-1]
    losses = []
    if predicted.iou < last.avg_iou:
        losses.append(f"IoU {predicted.iou:.4f} after {last.avg_iou:.4f}")
    if predicted.seconds > last.avg_time:
        losses.append(f"{predicted.seconds:.3f} s after {last.avg_time:.3f} s")
    if not losses:
        return ""
    return (
        f"this is predicted to be worse than the last answer ({', '.join(losses)}), and the server "
        "keeps only the newest"
    )


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def _waiting(title: str) -> Iterator[Callable[[str], None]]:
    """Time that has passed, and what is told meanwhile; quiet when not on a terminal."""
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip

    def told(message: str) -> None:
        if errors.is_terminal:
            progress.console.print(message, markup=False)

    with progress:
        progress.add_task(title, total=None)
        try:
            yield told
        except KeyboardInterrupt:
            errors.print("the server may go on: lime-tuner leaderboard shows what it has")
            raise


def _record(database: str, url: str, parcel: Parcel, answer: Answer) -> None:
    from studies.records import Submitted, add_submission

    predicted = parcel.predicted
    add_submission(
        database,
        Submitted(
            at=datetime.now(timezone.utc),
            url=url,
            parameters_sha256=parcel.parameters_sha256,
            parameters=parcel.parameters,
            study=parcel.study,
            predicted_iou=None if predicted is None else predicted.iou,
            predicted_time=None if predicted is None else predicted.seconds,
            avg_iou=answer.avg_iou,
            avg_time=answer.avg_time,
        ),
    )


def _document(url: str, parcel: Parcel, answer: Answer | None) -> dict[str, Any]:
    """Of ``submit --json``; results by the server's own names."""
    predicted = parcel.predicted
    return {
        "url": url,
        "file": str(parcel.file),
        "parameters_sha256": parcel.parameters_sha256,
        "prediction": predicted and {"avg_iou": predicted.iou, "avg_time": predicted.seconds},
        "answer": answer and {"avg_iou": answer.avg_iou, "avg_time": answer.avg_time},
        "dry_run": answer is None,
    }
