"""``lime-tuner tune``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options
from tuner.cli.catalog_scope import show_catalog_summary
from tuner.cli.context import open_workplace
from tuner.cli.job import Job, log_path, notified, notify_address
from tuner.cli.output import write_json
from tuner.cli.settings import setting
from tuner.cli.tune_checks import portfolio_members, scope_of
from tuner.cli.tune_request import TuneRequest
from tuner.cli.tune_run import run_tuning
from tuner.cli.tune_summary import show_summary
from tuner.clock import until_clock

__all__ = ["tune"]


def tune(
    catalog: options.Catalog = None,
    assets: options.Assets = None,
    model: options.Model = None,
    weights: options.Weights = None,
    device: options.Device = None,
    cam_layer: options.CamLayer = None,
    images: options.Images = None,
    study: options.Study = None,
    storage: options.Storage = None,
    reference: options.ReferenceRule = None,
    min_reliability: Annotated[
        float,
        typer.Option(help="Leave out images whose reference can be trusted less, 0 to 1."),
    ] = 0.0,
    target: Annotated[
        str, typer.Option(help="Class the reference is made for: top1, or catalog.")
    ] = "top1",
    trials: Annotated[
        int | None,
        typer.Option(help="Trials per image, counting those the study has already.  [default: 60]"),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds per image after which no trial is started.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Time of day, e.g. 07:00, after which no trial is started. Every image gets its "
            "share first; without --trials, what is left goes where it still pays off."
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(help="New classifier answers per image after which no trial is started."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; each tunes one image at a time.  [default: 1]")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler, e.g. tcp://scheduler:8786: run there."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Of each worker.  [default: the cores, shared among the workers]"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Explainer seeds a surviving trial is scored on.  [default: 10]"),
    ] = None,
    runtime_weight: Annotated[
        float | None,
        typer.Option(help="IoU that the runtime of lime's defaults is worth.  [default: 0.1]"),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="ceiling, tpe or random.  [default: ceiling]")
    ] = None,
    engine: options.Engine = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(help="name=value: keep one value of a dimension; may be repeated."),
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="TOML file that replaces the search space.")
    ] = None,
    warm_start: Annotated[
        bool, typer.Option(help="Try early what won on the catalogue's other images.")
    ] = True,
    portfolio: options.Portfolio = None,
    constrain: Annotated[
        str | None,
        typer.Option(
            help="fidelity: held-out R² of the surrogate, and insertion minus deletion, may not "
            "fall below those of lime's defaults."
        ),
    ] = None,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Look for the whole front of IoU and seconds; export chooses from it later.",
        ),
    ] = False,
    calibrated: options.Calibrated = None,
    seed: Annotated[int, typer.Option(help="Seed of the search itself.")] = 0,
    log: options.Log = None,
    notify: options.Notify = None,
    scope: Annotated[
        str,
        typer.Option(help="image: a study each. catalog: one setting that serves all images."),
    ] = "image",
    aggregate: Annotated[
        str,
        typer.Option(help="Of a setting's values on all images: mean, worst, or q10 to q50."),
    ] = "mean",
    folds: Annotated[
        int, typer.Option(help="With --scope catalog: cross-validate over so many folds of images.")
    ] = 0,
    most_runtime: Annotated[
        float | None,
        typer.Option(
            help="Share of the samples of lime's defaults that nothing may exceed.  "
            "[default: 0.125 with --scope catalog]"
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="agreement with a reference, or faithful: held-out R², insertion minus deletion "
            "and stability, without any reference."
        ),
    ] = "agreement",
    as_json: options.AsJson = False,
) -> None:
    """Search LIME's parameters: one study per image, created or resumed.

    Lime's defaults are always among the trials: the ninth, or the last of fewer (the first with
    --sampler tpe and random). Interrupting keeps every finished trial; the same command goes on.
    --trials counts what a study has in total.
    """
    from tuner.problem import SearchSpace, load_space

    address = notify_address(notify)
    chosen = load_space(space) if space is not None else SearchSpace()
    chosen = chosen.fix(fix or [])
    if most_runtime is not None and scope == "image":
        from tuner.study.catalog import affordable

        chosen = affordable(chosen, most_runtime)
    ends = None if until is None else until_clock(until, datetime.now())
    scoped = scope_of(scope, aggregate, folds, 0.125 if most_runtime is None else most_runtime)
    # What is written wrong is told before weights are downloaded.
    place = open_workplace(
        catalog=catalog, assets=assets, model=model, weights=weights, device=device,
        cam_layer=cam_layer, images=images,
    )  # fmt: skip
    from studies.storage import DEFAULT_STORAGE

    total = setting("trials", trials)
    url = setting("storage", storage, DEFAULT_STORAGE)
    request = TuneRequest(
        storage=url,
        study=setting("study", study, place.catalog.name),
        reference=setting("reference", reference),
        min_reliability=min_reliability,
        target=target,
        trials=60 if total is None else total,
        seeds=setting("seeds", seeds, 10 if scope == "image" else 2),
        workers=setting("workers", workers, 1),
        threads=threads,
        runtime_weight=setting("runtime_weight", runtime_weight, 0.1),
        sampler=setting("sampler", sampler, "tpe" if objective == "faithful" else "ceiling"),
        engine=setting("engine", engine, "auto"),
        timeout=timeout,
        answers=answers,
        warm_start=warm_start,
        constrain=setting("constrain", constrain),
        seed=seed,
        space=chosen,
        calibrated=calibrated,
        until=ends,
        beyond=until is not None and total is None,
        cluster=setting("cluster", cluster),
        log=log_path(log, url),
        pareto=pareto,
        scope=scoped,
        objective=objective,
        portfolio=portfolio_members(portfolio, setting("storage", storage, DEFAULT_STORAGE)),
    )
    with notified(Job("tune", url, request.study), address):
        summary = run_tuning(place, request)
    if as_json:
        write_json(summary)
    elif request.scope is not None:
        show_catalog_summary(summary)
    else:
        show_summary(summary)
