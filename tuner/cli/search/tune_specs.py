"""From what ``lime-tuner tune`` was asked for to a spec for every image's study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from explainers.engines import ENGINES, make_engine
from explainers.errors import InvalidInput
from explainers.references import Reference
from studies.catalog.assets import StudyImage, cache_folder
from studies.catalog.names import catalog_study
from studies.storage import holds_studies, open_storage
from studies.storage.reconnecting import trouble_told
from tuner.cli.context import Workplace, catalog_class
from tuner.cli.output import errors
from tuner.cli.servers.calibration import server_reference, server_runtime_model
from tuner.problem.settings import FAITHFUL, TuningSettings
from tuner.problem.spec import Machine, StudySpec
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.model import RuntimeModel
from tuner.server.calibration import Calibration
from tuner.study.identity import (
    StudyIdentity,
    check_identity,
    computed_rule,
    read_studies,
    stored_reference,
    stored_runtime_model,
)
from tuner.study.loading import load_task, open_cache
from tuner.study.opening import facts_of

__all__ = ["SpecRequest", "specs_of"]

_TOP1, _CATALOG = "top1", "catalog"


@dataclass(frozen=True, kw_only=True)
class SpecRequest:
    """What studies are asked for.

    Attributes:
        study: prefix of their names.
        reference: ``None`` for the catalogue's, or the calibration's.
        min_reliability: of a reference, in [0, 1]; images below are left out.
        target: whose class is explained: ``top1``, the classifier's, or the ``catalog``'s.
        calibrated: name of a calibration.
    """

    storage: str
    study: str
    reference: str | None = None
    settings: TuningSettings
    min_reliability: float = 0.0
    target: str = _TOP1
    calibrated: str | None = None

    def check(self, images: int) -> None:
        """Refuse what does not go together.

        Raises:
            InvalidInput: says what was given, and what to give.
        """
        del images
        if not 0 <= self.min_reliability <= 1:
            raise InvalidInput(f"--min-reliability {self.min_reliability}: give 0 to 1")
        if self.target not in (_TOP1, _CATALOG):
            raise InvalidInput(f"--target {self.target}: use {_TOP1} or {_CATALOG}")
        if self.settings.objective == FAITHFUL:
            given = {"--calibrated": self.calibrated, "--min-reliability": self.min_reliability}
            for name, value in given.items():
                if value:
                    raise InvalidInput(
                        f"{name} needs a reference, which --objective {FAITHFUL} does without: "
                        "leave it out"
                    )

    def logged_values(self) -> dict[str, Any]:
        """What is logged of it: no secrets, nothing that is long."""
        asked = {k: v for k, v in vars(self).items() if k not in ("storage", "log", "settings")}
        return {**asked, **self.settings.to_json()}


def specs_of(
    workspace: Workplace, request: SpecRequest, machine: Machine, calibration: Calibration | None
) -> tuple[list[StudySpec], Machine]:
    """Load images, make their references and price explanations, unless that is stored already.

    Returns:
        A spec for each image, and the machine with the engine that it turned out to have.

    Raises:
        InvalidInput: one of the studies is there, and was made from something else.
        InvalidInput, MissingAsset, UnusableReference: an image has no file, or no reference that
            can be trusted.
    """
    settings, alone = request.settings, not request.settings.of_catalog
    images = workspace.load_images()
    source = workspace.classifier.spec
    assert source is not None
    classes = {
        image.key: catalog_class(image, workspace.classifier)
        if request.target == _CATALOG
        else None
        for image in images
    }
    # Converted and checked once, here; workers find it in the cache.
    engine = make_engine(
        workspace.classifier,
        machine.engine,
        image=images[0].pixels,
        cache=cache_folder() / "engines",
    ).name
    machine = replace(machine, engine=engine if engine in ENGINES else "torch")
    rule, called = request.reference or workspace.catalog.reference, request.calibrated or ""
    if calibration is not None and request.reference is None:
        rule = server_reference(called, calibration, workspace.catalog.reference)
    studies = {image.key: f"{request.study}/{image.key}" for image in images}
    known = _computed_before(request.storage, studies, rule) if alone else {}
    if settings.objective == FAITHFUL and request.reference is None:
        known = {image.key: Reference.none(image.pixels.shape[:2]) for image in images}
    missing = [image for image in images if image.key not in known]
    for image in missing:  # refuses NaN, whose map would be told as a mask that is empty or full
        workspace.classifier.predict_proba(image.pixels[None])
    if missing:
        with_reliability = alone or request.min_reliability > 0
        made = workspace.references(
            missing, rule, lambda image: classes[image.key], with_reliability=with_reliability
        )
        known.update(made)
    images = _trusted(images, known, request.min_reliability)
    mask_rule = identity = None
    if calibration is not None:
        identity = calibration.identity(called)
        if calibration.mask_rule is not None:
            mask_rule = calibration.mask_rule.as_kwargs()
    models = _runtime_models(workspace, request, calibration, images)
    specs = [
        StudySpec(
            name=studies[image.key],
            key=image.key,
            catalog=workspace.catalog_source,
            model=source["model"],
            weights=source.get("weights"),
            cam_layer=source.get("cam_layer"),
            class_index=classes[image.key],
            reference=known[image.key].to_json(),
            runtime_model=models[image.key].to_json(),
            mask_rule=mask_rule,
            calibration=identity,
            settings=settings,
        )
        for image in images
    ]
    if alone:
        _check_specs(specs, machine)
    return specs, machine


def _check_specs(specs: Sequence[StudySpec], machine: Machine) -> None:
    """Compare every study with what it was made from, before any is written to.

    Done or not: what is shown is the result of these settings. A classifier that gives no answer
    is found out here, too, before there is a study of it.

    Raises:
        InvalidInput: one was made from something else.
    """
    url = machine.storage
    with ExitStack() as stack:
        stack.enter_context(trouble_told(url))
        cache = stack.enter_context(closing(open_cache(machine)))
        storage = None
        if holds_studies(url):
            storage = stack.enter_context(closing(open_storage(url, write=False)))
        for spec in specs:
            facts = facts_of(load_task(spec, machine, cache))
            wanted = StudyIdentity.of(facts, pareto=spec.settings.pareto)
            if storage is not None:
                check_identity(storage, spec.name, wanted)


def _runtime_models(
    workspace: Workplace,
    request: SpecRequest,
    calibration: Calibration | None,
    images: Sequence[StudyImage],
) -> dict[str, RuntimeModel]:
    """The prices of each image's study: those that it was begun with, or else the machine's or the
    server's. Nothing is measured where none is missing."""
    studies = {image.key: f"{request.study}/{image.key}" for image in images}
    if request.settings.of_catalog:
        studies = dict.fromkeys(studies, catalog_study(request.study))
    facts = read_studies(request.storage, set(studies.values()))
    models = {
        key: model
        for key, study in studies.items()
        if (model := stored_runtime_model(study, facts.get(study, {}))) is not None
    }
    missing = [key for key in studies if key not in models]
    if missing and calibration is None:
        models |= dict.fromkeys(missing, runtime_model_for(workspace.classifier, images[0].pixels))
    elif missing:
        assert calibration is not None
        called = request.calibrated or ""
        model = server_runtime_model(called, calibration, workspace.classifier, images)
        models |= dict.fromkeys(missing, model)
    return models


def _computed_before(storage: str, studies: Mapping[str, str], rule: str) -> dict[str, Reference]:
    """The references that studies were begun with, by key, where they were computed by that rule.

    Masks of anybody's own are not among them: their files may have been changed.

    Args:
        studies: names by key of the image.
    """
    wanted = None if rule == "masks" or Path(rule).exists() else computed_rule(rule)
    references = {}
    stored = {} if wanted is None else read_studies(storage, studies.values())
    for key, name in studies.items():
        reference = stored_reference(name, stored.get(name, {}))
        if reference is not None and reference.rule == wanted:
            references[key] = reference
    return references


def _trusted(
    images: list[StudyImage], known: Mapping[str, Reference], least: float
) -> list[StudyImage]:
    """The images to tune; says of which the reference is doubtful, and which are left out."""
    scores = {
        image.key: 1.0
        if (reliability := known[image.key].reliability) is None
        else reliability.score
        for image in images
    }
    kept = [image for image in images if scores[image.key] >= least]
    if not kept:
        raise InvalidInput(
            f"no reference has a reliability of {least}, the best has {max(scores.values()):.2f}: "
            "lower --min-reliability, or give masks of your own with --reference"
        )
    for image in images:
        reliability = known[image.key].reliability
        left_out = scores[image.key] < least
        if reliability is not None and (reliability.doubt or left_out):
            errors.print(
                f"{image.key}{' is left out' * left_out}: the reference has a reliability of "
                f"{reliability.score:.2f}{reliability.doubt and ', ' + reliability.doubt}"
            )
    return kept
