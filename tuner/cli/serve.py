"""``lime-tuner serve``: the service."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explainers.errors import InvalidInput
from tuner.cli import options
from tuner.cli.output import errors
from tuner.cli.settings import setting

if TYPE_CHECKING:
    from studies.http.listener import Listener
    from studies.service.app import Service
    from tuner.service_crew import ServiceCrew

__all__ = ["serve"]

TOKEN_VARIABLE = "LIME_TUNER_SERVICE_TOKEN"
_NEEDED = ("fastapi", "uvicorn", "multipart", "optuna_dashboard")
_LEAST_TOKEN = 16


def serve(
    storage: options.Storage = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    cam_layer: options.CamLayer = None,
    engine: options.Engine = None,
    host: Annotated[
        str,
        typer.Option(
            help=f"Address to listen on; others than this machine's own need {TOKEN_VARIABLE}."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(help="Processes; each tunes one image at a time. 0: only the pages.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(help="Of each worker.  [default: the cores, shared among the workers]"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", help="METHOD@RULE where a study asks for none.  [default: gradcam@0.3]"
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Of each image, where a study does not say.  [default: 60]")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Explainer seeds a surviving trial is scored on.  [default: 10]"),
    ] = None,
    max_trials: Annotated[int, typer.Option(help="That a study may ask for.")] = 1000,
    max_images: Annotated[int, typer.Option(help="Of a study.")] = 24,
    max_mb: Annotated[float, typer.Option(help="Megabytes of an image.")] = 20.0,
    max_megapixels: Annotated[float, typer.Option(help="Of an image.")] = 50.0,
    queue: Annotated[int, typer.Option(help="Images that may wait or be at work.")] = 100,
    keep_days: Annotated[
        int | None,
        typer.Option(
            help="Remove a study, uploads and all, so many days after it has ended.  "
            "[default: keep everything]"
        ),
    ] = None,
) -> None:
    """Serve the API, the page, the dashboard and the reports; worker processes do the jobs.

    Whoever reaches the page drops photographs and takes LIME parameters away. Killed and started
    again, it goes on where it was.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"serve needs {', '.join(missing)}: pip install -e '.[serve]' installs what it needs"
        )
    from dissection.labels import latest_dissections
    from dissection.report import dissection_part
    from explainers.reference import parse_reference
    from studies.http.connections import connection_limits
    from studies.http.guard import is_loopback
    from studies.http.sockets import bound_socket
    from studies.service.app import Service
    from studies.service.folder import service_folder
    from studies.service.limits import ServiceLimits
    from studies.service.uploads import Defaults
    from studies.storage import DEFAULT_STORAGE, absolute_url, check_storage, open_storage
    from tuner.ending import tidy_end
    from tuner.service_crew import ServiceCrew
    from tuner.service_jobs import ServicePlan

    usual = setting("trials", trials, 60)
    each = setting("seeds", seeds, 10)
    _check(
        {
            "workers": (workers, 0), "threads": (threads or 1, 1), "trials": (usual, 1),
            "seeds": (each, 1), "max-trials": (max_trials, 1), "max-images": (max_images, 1),
            "max-mb": (max_mb, 1), "max-megapixels": (max_megapixels, 1), "queue": (queue, 1),
            "keep-days": (1 if keep_days is None else keep_days, 1),
        }
    )  # fmt: skip
    token = _token(open_to_others=not is_loopback(host))
    url = absolute_url(setting("storage", storage, DEFAULT_STORAGE))
    rule = parse_reference(setting("reference", reference, "gradcam@0.3")).text
    check_storage(url, write=True)
    with tidy_end(), bound_socket(host, port) as bound:
        open_storage(url).close()  # its tables are made once, here, not by every worker at once
        plan = ServicePlan(
            storage=url,
            folder=str(service_folder(url).resolve()),
            model=setting("model", model, "resnet50"),
            weights=_found(setting("weights", weights)),
            device=setting("device", device),
            cam_layer=setting("cam_layer", cam_layer),
            engine=setting("engine", engine, "auto"),
            seeds=each,
            threads=threads or max(1, (os.cpu_count() or 1) // max(1, workers)),
            megapixels=max_megapixels,
        )
        crew = ServiceCrew(plan, workers)
        service = Service(
            storage=url,
            folder=Path(plan.folder),
            model=plan.model,
            limits=ServiceLimits(
                images=max_images, queue=queue, image_mb=max_mb, megapixels=max_megapixels,
                trials=max_trials, kept_days=keep_days,
                listeners=min(ServiceLimits.listeners, connection_limits().busy // 2),
            ),
            defaults=Defaults(min(usual, max_trials), rule),
            token=token,
            workers=lambda: crew.alive,
            supplement=lambda: dissection_part(latest_dissections(url)),
            replaced=crew.renew,
        )  # fmt: skip
        _serve(service, crew, bound)


def _check(numbers: dict[str, tuple[float, int]]) -> None:
    for name, (value, least) in numbers.items():
        if not value >= least:
            raise InvalidInput(f"--{name} {value}: give at least {least}")


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
    """A file by its whole path; anything else is a name."""
    if weights is not None and Path(weights).is_file():
        return str(Path(weights).resolve())
    return weights


def _serve(service: Service, crew: ServiceCrew, bound: Listener) -> None:
    import optuna

    from studies.http.server import log_to_stderr, run_server
    from studies.service.app import create_app
    from tuner.log_file import hush_warnings

    hush_warnings()
    log_to_stderr()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    app = create_app(service)
    host, port = bound.getsockname()[:2]
    try:
        crew.start()  # what keeps them from working is told here, in one line
        errors.print(
            f"serving on http://{f'[{host}]' if ':' in host else host}:{port}/ with "
            f"{crew.alive} worker{'s' * (crew.alive != 1)}; Ctrl-C ends it",
            markup=False,
        )
        run_server(app, bound)
    finally:
        crew.stop()
