"""``lime-tuner serve``: the web service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import optuna
import typer

from dissection.labels import latest_dissections
from dissection.report import dissection_part
from explainers.errors import InvalidInput
from explainers.references import parse_reference
from studies.storage import absolute_url, check_storage, open_storage
from studies.web.http import connection_limits, is_loopback, run_server
from studies.web.listener import Listener, bound_socket
from studies.web.server_log import log_to_stderr
from studies.web.service import Defaults, Service, ServiceLimits, create_app, service_folder
from tuner.cli.options import ClassifierOptions, EngineOptions, StorageOptions, takes_groups
from tuner.cli.output import errors
from tuner.cli.servers.serving import address_of, check_installed, check_least
from tuner.ending import tidy_end
from tuner.log_file import hush_warnings
from tuner.options import LIMITS, MACHINE, SERVER, Option
from tuner.problem.settings import Seeds, Trials
from tuner.workers.service import ServicePlan
from tuner.workers.service_processes import ServiceProcesses

__all__ = ["serve"]

TOKEN_VARIABLE = "LIME_TUNER_SERVICE_TOKEN"
_NEEDED = {each: each for each in ("fastapi", "uvicorn", "multipart", "optuna_dashboard")}
_LEAST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Defaults for studies whose request names no reference, trials or seeds."""

    reference: Annotated[str, Option("METHOD@RULE where a study asks for none.")] = "gradcam@0.3"
    trials: Trials = 60
    seeds: Seeds = 10


@takes_groups
def serve(
    where: StorageOptions,
    classifier: ClassifierOptions,
    engine: EngineOptions,
    options: ServiceOptions,
    host: Annotated[
        str,
        typer.Option(
            help=f"Address to listen on; others than this machine's own need {TOKEN_VARIABLE}.",
            rich_help_panel=SERVER,
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", rich_help_panel=SERVER)] = 8000,
    workers: Annotated[
        int,
        typer.Option(
            help="Processes; idle ones help with another's photograph. 0: only the pages.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Of each worker.  [default: the cores, shared among the workers]",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    max_trials: Annotated[
        int, typer.Option(help="That a study may ask for.", rich_help_panel=LIMITS)
    ] = 1000,
    max_images: Annotated[int, typer.Option(help="Of a study.", rich_help_panel=LIMITS)] = 24,
    max_mb: Annotated[
        float, typer.Option(help="Megabytes of an image.", rich_help_panel=LIMITS)
    ] = 20.0,
    max_megapixels: Annotated[
        float, typer.Option(help="Of an image.", rich_help_panel=LIMITS)
    ] = 50.0,
    queue: Annotated[
        int, typer.Option(help="Images that may wait or be at work.", rich_help_panel=LIMITS)
    ] = 100,
    keep_days: Annotated[
        int | None,
        typer.Option(
            help="Remove a study, uploads and all, so many days after it has ended.  "
            "[default: keep everything]",
            rich_help_panel=LIMITS,
        ),
    ] = None,
) -> None:
    """Serve the API, the page, the dashboard and the reports.

    Worker processes do the jobs. Whoever reaches the page drops photographs and takes LIME
    parameters away. Killed and started again, it goes on where it was.
    """
    check_installed("serve", _NEEDED)
    check_least(
        {
            "workers": workers, "threads": threads or 1, "max-trials": max_trials,
            "max-images": max_images, "max-mb": max_mb, "max-megapixels": max_megapixels,
            "queue": queue,
            "keep-days": 1 if keep_days is None else keep_days,
        },
        {"workers": 0},
    )  # fmt: skip
    token = _token(open_to_others=not is_loopback(host))
    url = absolute_url(where.storage)
    rule = parse_reference(options.reference).text
    check_storage(url, write=True)
    with tidy_end(), bound_socket(host, port) as bound:
        open_storage(url).close()  # creates the tables before the workers start
        plan = ServicePlan(
            storage=url,
            folder=str(service_folder(url).resolve()),
            model=classifier.model or "resnet50",
            weights=_found(classifier.weights),
            device=classifier.device,
            cam_layer=classifier.cam_layer,
            engine=engine.engine,
            seeds=options.seeds,
            threads=threads or max(1, (os.cpu_count() or 1) // max(1, workers)),
            megapixels=max_megapixels,
        )
        processes = ServiceProcesses(plan, workers)
        service = Service(
            storage=url,
            folder=Path(plan.folder),
            model=plan.model,
            limits=ServiceLimits(
                images=max_images, queue=queue, image_mb=max_mb, megapixels=max_megapixels,
                trials=max_trials, kept_days=keep_days,
                listeners=min(ServiceLimits.listeners, connection_limits().busy // 2),
            ),
            defaults=Defaults(min(options.trials, max_trials), rule),
            token=token,
            workers=lambda: processes.alive,
            supplement=lambda: dissection_part(latest_dissections(url)),
            replaced=processes.renew,
        )  # fmt: skip
        _serve(service, processes, bound)


def _token(*, open_to_others: bool) -> str | None:
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is None:
        if open_to_others:
            raise InvalidInput(
                f"--host lets others in: set {TOKEN_VARIABLE} to a secret of {_LEAST_TOKEN} or "
                "more characters, which they have to know"
            )
        return None
    if len(token) < _LEAST_TOKEN or not (token.isascii() and token.isprintable()):
        raise InvalidInput(
            f"{TOKEN_VARIABLE} is no good secret: give {_LEAST_TOKEN} or more ASCII characters"
        )
    return token


def _found(weights: str | None) -> str | None:
    """The absolute path if there is such a file; any other text is a name."""
    if weights is not None and Path(weights).is_file():
        return str(Path(weights).resolve())
    return weights


def _serve(service: Service, processes: ServiceProcesses, bound: Listener) -> None:
    hush_warnings()
    log_to_stderr()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    app = create_app(service)
    try:
        processes.start()  # errors at the start are raised here
        errors.print(
            f"serving on {address_of(bound)}/ with {processes.alive} "
            f"worker{'s' * (processes.alive != 1)}; Ctrl-C ends it",
            markup=False,
        )
        run_server(app, bound)
    finally:
        processes.stop()
