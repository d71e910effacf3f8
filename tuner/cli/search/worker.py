"""``lime-tuner worker``: join the studies of a storage from another process or machine."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer

from explainers.errors import InvalidInput
from studies.storage import check_storage
from studies.storage.reconnecting import trouble_told, until_reachable
from tuner.cli.job import Job, log_path, logged, notified, notify_address
from tuner.cli.options import (
    AssetsOption,
    EngineOptions,
    JobOptions,
    StorageOptions,
    takes_groups,
)
from tuner.cli.output import console, errors
from tuner.clock import until_clock
from tuner.options import BUDGET, MACHINE, WHAT
from tuner.problem.spec import Machine
from tuner.workers.worker import Worker

__all__ = ["worker"]

# Plain options: lime-tuner.toml must not replace what a study's spec says, only the command line.
_Instead = Annotated[
    str | None, typer.Option(help="Instead of what studies say.", rich_help_panel=WHAT)
]
_START_SECONDS = 30.0  # how long to wait at the start for a database that cannot be reached
_logger = logging.getLogger(__name__)


@takes_groups
def worker(
    where: StorageOptions,
    photographs: AssetsOption,
    engine: EngineOptions,
    job: JobOptions,
    study: Annotated[
        str | None,
        typer.Option("--study", help="Only studies with this prefix.", rich_help_panel=WHAT),
    ] = None,
    catalog: _Instead = None,
    model: _Instead = None,
    weights: _Instead = None,
    cam_layer: _Instead = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda, cuda:N or mps.  [default: auto]", rich_help_panel=MACHINE
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="For the classifier.", rich_help_panel=MACHINE)] = 1,
    max_hours: Annotated[
        float | None, typer.Option(help="Hours after which it ends.", rich_help_panel=BUDGET)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Time of day when it ends, e.g. 07:00.", rich_help_panel=BUDGET),
    ] = None,
    idle_exit: Annotated[
        float | None,
        typer.Option(
            help="Seconds without work after which it ends.  [default: never]",
            rich_help_panel=BUDGET,
        ),
    ] = None,
) -> None:
    """Run trials of the studies that need them most.

    It ends when no study needs any, or when it is stopped. Studies are begun by lime-tuner tune.
    Photographs, weights and package versions must be those
    that a study was made from; other studies are skipped. A first SIGTERM or Ctrl-C ends after the
    trial that is running.
    """
    if threads < 1:
        raise InvalidInput(f"--threads {threads}: give at least 1")
    for name, value in (("max-hours", max_hours), ("idle-exit", idle_exit)):
        if value is not None and not value >= 0:
            raise InvalidInput(f"--{name} {value}: give 0 or more")
    url = where.storage
    address = notify_address(job.notify)
    ends = _deadline(max_hours, until)
    # The worker may be started together with the database, or while that restarts.
    patience = time.monotonic() + _START_SECONDS
    until_reachable(
        lambda: check_storage(url, write=True),
        stop=lambda: time.monotonic() > patience,
        on_message=_tell,
    )
    asked = threading.Event()
    made = Worker(
        machine=Machine(
            storage=url,
            assets=photographs.assets,
            catalog=catalog,
            model=model,
            weights=weights,
            device=device,
            cam_layer=cam_layer,
            engine=engine.engine,
            threads=threads,
        ),
        prefix=study,
        stop=lambda: asked.is_set() or ends(),
        idle_exit=idle_exit,
        on_message=_tell,
        pause=asked.wait,
    )
    work = Job("worker", url, study)
    about = {name: value for name, value in vars(made.machine).items() if name != "storage"}
    arguments = {"machine": about, "until": until, "max_hours": max_hours}
    with (
        notified(work, address), logged(work, log_path(job.log, url), arguments), trouble_told(url),
        _graceful(asked),
    ):  # fmt: skip
        count = made.run()
        _logger.info("%d trials run here", count)
    console.print(f"{count} trials")


def _tell(line: str) -> None:
    errors.print(line, markup=False)
    _logger.info("%s", line)


def _deadline(max_hours: float | None, until: str | None) -> Callable[[], bool]:
    """A function that says whether the time is over.

    ``max_hours`` does not count while the machine sleeps; ``until`` is a time of day.
    """
    start = time.monotonic()
    clock = None if until is None else until_clock(until, datetime.now())

    def over() -> bool:
        late = max_hours is not None and time.monotonic() - start > max_hours * 3600
        return late or (clock is not None and datetime.now() >= clock)

    return over


@contextmanager
def _graceful(asked: threading.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets an event, a second one interrupts."""

    def heard(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        errors.print("ending after this trial; once more interrupts it")

    before = {each: signal.signal(each, heard) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
