"""``lime-tuner tune``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explainers.errors import InvalidInput
from tuner.cli import options
from tuner.cli.catalog_scope import CatalogScope, run_catalog_scope, show_catalog_summary
from tuner.cli.context import Workplace, catalog_class, open_workplace
from tuner.cli.job import Job, log_path, logged, notified, notify_address
from tuner.cli.output import console, errors, table, write_json
from tuner.cli.settings import setting
from tuner.cli.study_watcher import StudyWatcher
from tuner.cli.tune_checks import check_objective, check_scope, portfolio_members, scope_of
from tuner.clock import until_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from explainers.reference import Reference
    from studies.assets import StudyImage
    from tuner.crew import Crew
    from tuner.jobs import TuneJob
    from tuner.search_space import SearchSpace
    from tuner.server_calibration import Calibration

__all__ = ["TuneRequest", "run_tuning", "tune"]


@dataclass(frozen=True)
class TuneRequest:
    """What ``tune`` was asked for, with defaults filled in."""

    storage: str
    study: str
    reference: str | None
    min_reliability: float
    target: str
    trials: int
    seeds: int
    workers: int
    threads: int | None
    runtime_weight: float
    sampler: str
    engine: str
    timeout: float | None
    answers: int | None
    warm_start: bool
    constrain: str | None
    seed: int
    space: SearchSpace
    calibrated: str | None = None
    until: datetime | None = None
    beyond: bool = False
    cluster: str | None = None
    log: Path | None = None
    pareto: bool = False
    scope: CatalogScope | None = None
    objective: str = "agreement"
    portfolio: tuple[str, ...] = ()


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
    from tuner.search_space import SearchSpace, load_space

    address = notify_address(notify)
    chosen = load_space(space) if space is not None else SearchSpace()
    chosen = chosen.fix(fix or [])
    if most_runtime is not None and scope == "image":
        from tuner.catalog_study import affordable

        chosen = affordable(chosen, most_runtime)
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
        until=None if until is None else until_clock(until, datetime.now()),
        beyond=until is not None and total is None,
        cluster=setting("cluster", cluster),
        log=log_path(log, url),
        pareto=pareto,
        scope=scope_of(scope, aggregate, folds, 0.125 if most_runtime is None else most_runtime),
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


def run_tuning(place: Workplace, request: TuneRequest) -> dict[str, Any]:
    """Check everything, then search; the document of ``tune --json``."""
    from studies.storage import check_storage
    from tuner.cli.calibrated import known_calibration
    from tuner.samplers import SAMPLERS
    from tuner.tuning import TuningSettings

    # Everything that can be wrong is looked at before the first file is written.
    TuningSettings(
        trials=request.trials, seeds=request.seeds, runtime_weight=request.runtime_weight,
        timeout=request.timeout, answers=request.answers,
    )  # fmt: skip
    if request.workers < 1:
        raise InvalidInput(f"{request.workers} workers: give at least 1")
    if request.threads is not None and request.threads < 1:
        raise InvalidInput(f"{request.threads} threads: give at least 1")
    if request.sampler not in SAMPLERS:
        raise InvalidInput(
            f"sampler '{request.sampler}' is unknown: use one of {', '.join(SAMPLERS)}"
        )
    if not 0 <= request.min_reliability <= 1:
        raise InvalidInput(f"--min-reliability {request.min_reliability}: give 0 to 1")
    if request.constrain not in (None, "fidelity"):
        raise InvalidInput(f"--constrain {request.constrain}: fidelity is the only constraint")
    if request.target not in ("top1", "catalog"):
        raise InvalidInput(f"--target {request.target}: use top1 or catalog")
    if request.until is not None and request.timeout is not None:
        raise InvalidInput("--until shares one night among all images, --timeout is for each: "
                           "give one of them")  # fmt: skip
    check_objective(request)
    if request.scope is not None:
        check_scope(request, len(place.catalog.keys))
    check_storage(request.storage, write=True)
    calibration = None
    if request.calibrated is not None:
        calibration = known_calibration(request.storage, request.calibrated)
    if request.scope is not None:
        return run_catalog_scope(
            request.scope, request.study, _jobs(place, request, calibration, request.workers)
        )
    with _crew(place, request) as crew:
        jobs = _jobs(place, request, calibration, crew.workers)
        names = _run(request, jobs, crew)
    return summary_of(request.storage, request.study, names)


@contextmanager
def _crew(place: Workplace, request: TuneRequest) -> Iterator[Crew]:
    """Who does it; its processes load what they need while this one prepares."""
    from studies.storage import sqlite_path
    from tuner.crew import LocalCrew, cluster_crew

    if request.cluster is None:
        most = request.workers if request.until else min(request.workers, len(place.catalog.keys))
        crew = LocalCrew(most)
        assert place.classifier.spec is not None
        crew.begin(place.classifier.spec)
        yield crew
    else:
        one_host = sqlite_path(request.storage) is not None
        with cluster_crew(request.cluster, one_host=one_host) as cluster:
            yield cluster


def _run(request: TuneRequest, jobs: list[TuneJob], crew: Crew) -> list[str]:
    """Search; the keys of what there is to be shown."""
    from studies.storage import open_storage
    from tuner.jobs import run_jobs, run_until, settle

    studies = [job.study for job in jobs]
    names = [job.key for job in jobs]
    before = _counts(request.storage, studies, request.pareto)
    open_storage(request.storage).close()  # makes its tables once, not every worker at once
    todo = [j for j in jobs if request.beyond or before.get(j.study, 0) < request.trials]
    already = sum(before.values())
    if already:
        errors.print(
            f"resuming {request.study}: {already} finished trials are there; --trials "
            f"{request.trials} is the total per image"
        )
    watcher = StudyWatcher(request.storage, dict(zip(studies, names, strict=True)), request.trials)
    told = {f: v for f, v in vars(request).items() if f not in ("storage", "log", "space")}
    job = Job("tune", request.storage, request.study)
    with logged(job, request.log, {**told, "images": names}), watcher:
        if request.until is None:
            run_jobs(todo, crew)
        elif todo:
            run_until(todo, crew, request.until)
            if datetime.now() < request.until:
                done = "brings" if request.beyond else "is left to do that brings"
                errors.print(f"over before {request.until:%H:%M}: no further trial {done} anything")
        if request.cluster and todo:
            settle(request.storage, {job.study for job in todo})
    return names


def _jobs(
    place: Workplace, request: TuneRequest, calibration: Calibration | None, workers: int
) -> list[TuneJob]:
    import torch

    from explainers.engines import ENGINES, make_engine
    from explainers.reference import Reference
    from studies.assets import cache_folder
    from studies.storage import absolute_url
    from tuner.calibration import runtime_model_for
    from tuner.cli.calibrated import server_reference, server_runtime_model
    from tuner.jobs import TuneJob

    images = place.load_images()
    spec = place.classifier.spec
    assert spec is not None
    classes = {
        image.key: catalog_class(image, place.classifier) if request.target == "catalog" else None
        for image in images
    }
    # Converted and checked once, here; workers find it in the cache.
    engine = make_engine(
        place.classifier, request.engine, image=images[0].pixels, cache=cache_folder() / "engines"
    ).name
    stored = _stored_references(request.storage, [f"{request.study}/{i.key}" for i in images])
    rule, called = request.reference or place.catalog.reference, request.calibrated or ""
    if calibration is not None and request.reference is None:
        rule = server_reference(called, calibration, place.catalog.reference)
    known = {
        image.key: Reference.from_json(stored[f"{request.study}/{image.key}"])
        for image in images
        if stored.get(f"{request.study}/{image.key}", {}).get("rule") == rule
    }
    if request.objective == "faithful" and request.reference is None:
        known = {image.key: Reference.none(image.pixels.shape[:2]) for image in images}
    missing = [image for image in images if image.key not in known]
    if missing:
        judged = request.scope is None or request.min_reliability > 0
        made = place.references(missing, rule, lambda image: classes[image.key], judged=judged)
        known.update(made)
    images = _trusted(images, known, request.min_reliability)
    mask_rule = identity = None
    if calibration is None:
        model = runtime_model_for(place.classifier, images[0].pixels)
    else:
        model = server_runtime_model(called, calibration, place.classifier, images)
        identity = calibration.identity(called)
        if calibration.mask_rule is not None:
            mask_rule = calibration.mask_rule.as_kwargs()
    # On a cluster every worker has a core of its own, as far as is known here.
    shared = 1 if request.cluster else max(1, (os.cpu_count() or 1) // workers)
    alone = workers == 1 and not request.cluster
    threads = request.threads or (torch.get_num_threads() if alone else shared)
    storage = absolute_url(request.storage) if request.cluster else request.storage
    return [
        TuneJob(
            catalog=place.catalog_source,
            key=image.key,
            study=f"{request.study}/{image.key}",
            storage=storage,
            assets=place.assets,
            classifier_spec=spec,
            engine=engine if engine in ENGINES else "torch",
            class_index=classes[image.key],
            reference=known[image.key].to_json(),
            runtime_model=model.to_json(),
            threads=threads,
            trials=request.trials,
            seeds=request.seeds,
            runtime_weight=request.runtime_weight,
            sampler=request.sampler,
            timeout=request.timeout,
            answers=request.answers,
            warm_start=request.warm_start,
            constrain_fidelity=request.constrain == "fidelity",
            seed=request.seed,
            space=replace(request.space),
            beyond=request.beyond,
            log=None if request.cluster else request.log,
            mask_rule=mask_rule,
            calibration=identity,
            pareto=request.pareto,
            portfolio=request.portfolio,
            objective=request.objective,
        )
        for image in images
    ]


def _trusted(
    images: list[StudyImage], known: Mapping[str, Reference], least: float
) -> list[StudyImage]:
    """The images to tune; says of which the reference is doubtful, and which are left out."""
    scores = {
        image.key: 1.0 if (judged := known[image.key].reliability) is None else judged.score
        for image in images
    }
    kept = [image for image in images if scores[image.key] >= least]
    if not kept:
        raise InvalidInput(
            f"no reference has a reliability of {least}, the best has {max(scores.values()):.2f}: "
            "lower --min-reliability, or give masks of your own with --reference"
        )
    for image in images:
        judged = known[image.key].reliability
        left_out = scores[image.key] < least
        if judged is not None and (judged.doubt or left_out):
            errors.print(
                f"{image.key}{' is left out' * left_out}: the reference has a reliability of "
                f"{judged.score:.2f}{judged.doubt and ', ' + judged.doubt}"
            )
    return kept


def _stored_references(storage: str, studies: list[str]) -> dict[str, dict[str, Any]]:
    from studies.overview import study_attributes
    from studies.storage import holds_studies

    if not holds_studies(storage):
        return {}
    return {
        name: attributes["reference"]
        for name, attributes in study_attributes(storage, studies).items()
        if "reference" in attributes
    }


def _counts(storage: str, studies: list[str], pareto: bool) -> dict[str, int]:
    """Finished trials by study; refuses studies of other objectives."""
    from studies.overview import overview
    from studies.storage import holds_studies
    from tuner.cli.front import refuse_other_objectives

    if not holds_studies(storage):
        return {}
    rows = overview(storage, None)
    refuse_other_objectives(rows, studies, pareto)
    return {row.study: row.finished for row in rows if row.study in studies}


def summary_of(storage: str, prefix: str, keys: list[str]) -> dict[str, Any]:
    """The document of ``tune --json`` from what is stored."""
    import optuna

    from studies.storage import open_storage
    from studies.study_summary import image_document, studies_document

    opened = open_storage(storage, write=False)
    images: dict[str, dict[str, Any]] = {}
    for key in keys:
        found = image_document(optuna.load_study(study_name=f"{prefix}/{key}", storage=opened))
        if found["best"] is None:
            raise InvalidInput(f"study '{prefix}/{key}' has no finished trial yet")
        images[key] = found | {"default": found["default"] or found["best"]}
    return studies_document(prefix, images)


def show_summary(summary: dict[str, Any]) -> None:
    """The same as a table; tuning seeds, modelled seconds."""
    shown = table(
        f"{summary['study']}: best against lime's defaults (tuning seeds, modelled seconds)",
        "image", "trials", "default IoU", "best IoU", "default s", "best s", "reliability",
    )  # fmt: skip
    totals = [0.0] * 4
    for key, found in summary["images"].items():
        best, default = found["best"], found["default"]
        values = [default["iou"], best["iou"], default["runtime_seconds"], best["runtime_seconds"]]
        totals = [t + v for t, v in zip(totals, values, strict=True)]
        shown.add_row(
            key, str(found["trials"]), f"{values[0]:.3f}", f"{values[1]:.3f}",
            f"{values[2]:.2f}", f"{values[3]:.2f}",
            "" if found["reliability"] is None else f"{found['reliability']:.2f}",
        )  # fmt: skip
    count = max(1, len(summary["images"]))
    means = [t / count for t in totals]
    shown.add_section()
    shown.add_row(
        "mean", "", f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.2f}", f"{means[3]:.2f}"
    )
    console.print(shown)
