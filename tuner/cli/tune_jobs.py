"""From what ``lime-tuner tune`` was asked for to a job for every image."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidInput
from tuner.cli.context import Workplace, catalog_class
from tuner.cli.output import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from explainers.reference import Reference
    from studies.assets import StudyImage
    from tuner.cli.tune_request import TuneRequest
    from tuner.jobs import TuneJob
    from tuner.server_calibration import Calibration

__all__ = ["jobs_of"]


def jobs_of(
    place: Workplace, request: TuneRequest, calibration: Calibration | None, workers: int
) -> list[TuneJob]:
    """Load images, make their references and price explanations, unless that is stored already.

    Args:
        workers: that share this machine's cores.

    Raises:
        InvalidInput, MissingAsset, UnusableReference: an image has no file, or no reference that
            can be trusted.
    """
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
