"""From what ``lime-tuner tune`` was asked for to a job for every image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput
from tuner.cli.context import Workplace, catalog_class
from tuner.cli.output import errors

if TYPE_CHECKING:
    from explainers.reference import Reference
    from studies.assets import StudyImage
    from tuner.cli.tune_request import TuneRequest
    from tuner.jobs import TuneJob
    from tuner.runtime_model import RuntimeModel
    from tuner.server_calibration import Calibration

__all__ = ["jobs_of"]


def jobs_of(
    place: Workplace, request: TuneRequest, calibration: Calibration | None, workers: int
) -> list[TuneJob]:
    """Load images, make their references and price explanations, unless that is stored already.

    Args:
        workers: that share this machine's cores.

    Raises:
        InvalidInput: one of the studies is there, and was made from something else.
        InvalidInput, MissingAsset, UnusableReference: an image has no file, or no reference that
            can be trusted.
    """
    import torch

    from explainers.engines import ENGINES, make_engine
    from explainers.reference import Reference
    from studies.assets import cache_folder
    from studies.storage import absolute_url
    from tuner.cli.calibrated import server_reference
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
    rule, called = request.reference or place.catalog.reference, request.calibrated or ""
    if calibration is not None and request.reference is None:
        rule = server_reference(called, calibration, place.catalog.reference)
    studies = {image.key: f"{request.study}/{image.key}" for image in images}
    known = _computed_before(request.storage, studies, rule) if request.scope is None else {}
    if request.objective == "faithful" and request.reference is None:
        known = {image.key: Reference.none(image.pixels.shape[:2]) for image in images}
    missing = [image for image in images if image.key not in known]
    for image in missing:  # refuses NaN, whose map would be told as a mask that is empty or full
        place.classifier.predict_proba(image.pixels[None])
    if missing:
        judged = request.scope is None or request.min_reliability > 0
        made = place.references(missing, rule, lambda image: classes[image.key], judged=judged)
        known.update(made)
    images = _trusted(images, known, request.min_reliability)
    mask_rule = identity = None
    if calibration is not None:
        identity = calibration.identity(called)
        if calibration.mask_rule is not None:
            mask_rule = calibration.mask_rule.as_kwargs()
    models = _runtime_models(place, request, calibration, images)
    # On a cluster every worker has a core of its own, as far as is known here.
    shared = 1 if request.cluster else max(1, (os.cpu_count() or 1) // workers)
    alone = workers == 1 and not request.cluster
    threads = request.threads or (torch.get_num_threads() if alone else shared)
    storage = absolute_url(request.storage) if request.cluster else request.storage
    jobs = [
        TuneJob(
            catalog=place.catalog_source,
            key=image.key,
            study=studies[image.key],
            storage=storage,
            assets=place.assets,
            classifier_spec=spec,
            engine=engine if engine in ENGINES else "torch",
            class_index=classes[image.key],
            reference=known[image.key].to_json(),
            runtime_model=models[image.key].to_json(),
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
    if request.scope is None:
        _check_jobs(place, jobs, images)
    return jobs


def _check_jobs(place: Workplace, jobs: Sequence[TuneJob], images: Sequence[StudyImage]) -> None:
    """Compare every study with what it was made from, before any is written to.

    Done or not: what is shown is the result of these settings. A classifier that gives no answer
    is found out here, too, before there is a study of it.

    Raises:
        InvalidInput: one was made from something else.
    """
    from contextlib import ExitStack, closing

    from explainers.perturbation_bank import PerturbationBank
    from studies.assets import cache_folder
    from studies.storage import holds_studies, open_storage
    from studies.storage.reconnecting import trouble_told
    from tuner.study_identity import StudyIdentity, check_identity

    url = jobs[0].storage
    with ExitStack() as stack:
        stack.enter_context(trouble_told(url))
        bank = stack.enter_context(closing(PerturbationBank(cache_folder() / "bank")))
        storage = None
        if holds_studies(url):
            storage = stack.enter_context(closing(open_storage(url, write=False)))
        for job, image in zip(jobs, images, strict=True):
            task = job.task(place.classifier, image.pixels, bank)
            facts = job.facts(task, place.classifier, place.catalog.name)
            wanted = StudyIdentity.of(facts, pareto=job.pareto)
            if storage is not None:
                check_identity(storage, job.study, wanted)


def _runtime_models(
    place: Workplace,
    request: TuneRequest,
    calibration: Calibration | None,
    images: Sequence[StudyImage],
) -> dict[str, RuntimeModel]:
    """The prices of each image's study: those that it was begun with, or else the machine's or the
    server's. Nothing is measured where none is missing."""
    from studies.catalog_names import catalog_study
    from tuner.calibration import runtime_model_for
    from tuner.cli.calibrated import server_runtime_model
    from tuner.study_identity import read_studies, stored_runtime_model

    studies = {image.key: f"{request.study}/{image.key}" for image in images}
    if request.scope is not None:
        studies = dict.fromkeys(studies, catalog_study(request.study))
    facts = read_studies(request.storage, set(studies.values()))
    found = {
        key: model
        for key, study in studies.items()
        if (model := stored_runtime_model(study, facts.get(study, {}))) is not None
    }
    missing = [key for key in studies if key not in found]
    if missing and calibration is None:
        found |= dict.fromkeys(missing, runtime_model_for(place.classifier, images[0].pixels))
    elif missing:
        assert calibration is not None
        called = request.calibrated or ""
        model = server_runtime_model(called, calibration, place.classifier, images)
        found |= dict.fromkeys(missing, model)
    return found


def _computed_before(storage: str, studies: Mapping[str, str], rule: str) -> dict[str, Reference]:
    """The references that studies were begun with, by key, where they were computed by that rule.

    Masks of anybody's own are not among them: their files may have been changed.

    Args:
        studies: names by key of the image.
    """
    from tuner.study_identity import computed_rule, read_studies, stored_reference

    wanted = None if rule == "masks" or Path(rule).exists() else computed_rule(rule)
    found = {}
    stored = {} if wanted is None else read_studies(storage, studies.values())
    for key, name in studies.items():
        reference = stored_reference(name, stored.get(name, {}))
        if reference is not None and reference.rule == wanted:
            found[key] = reference
    return found


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
