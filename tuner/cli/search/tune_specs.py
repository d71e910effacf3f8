"""Makes the spec of every image's study from the request to ``lime-tuner tune``."""

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
from tuner.cli.output import errors, phase
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
        storage: database URL.
        study: prefix of their names.
        reference: ``None`` for the catalogue's, or the calibration's.
        min_reliability: in [0, 1]; images whose reference has less are left out.
        target: which class is explained: ``top1``, the classifier's likeliest, or ``catalog``, the
            one that the catalogue names.
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
        """Refuse options that cannot be combined.

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
        """The options to log, without secrets and long values."""
        asked = {k: v for k, v in vars(self).items() if k not in ("storage", "log", "settings")}
        return {**asked, **self.settings.to_json()}


def specs_of(
    workspace: Workplace, request: SpecRequest, machine: Machine, calibration: Calibration | None
) -> tuple[list[StudySpec], Machine]:
    """Load images, make their references and measure runtimes, unless these are stored already.

    Returns:
        A spec for each image, and the machine with the engine that could be loaded.

    Raises:
        InvalidInput: a study exists and was made from something else, or no image has a reference
            that is reliable enough.
        MissingAsset, UnusableReference: an image has no file, or no usable reference.
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
    # Convert and check the engine once; workers find it in the cache.
    with phase(f"preparing the engine '{machine.engine}' for {workspace.classifier.name}"):
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
    for image in missing:  # fails for NaN, which would give a map with an unusable mask
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
    stored = read_studies(request.storage, studies.values()) if alone else {}
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
            settings=settings.resumed(stored.get(studies[image.key], {})),
        )
        for image in images
    ]
    if alone:
        with phase("comparing with stored studies"):
            _check_specs(specs, machine)
    return specs, machine


def _check_specs(specs: Sequence[StudySpec], machine: Machine) -> None:
    """Compare every spec with its stored study, before any study is written to.

    Finished studies are compared, too, as their results are shown as those of these settings. A
    classifier without a finite answer is refused here, before there is a study of it.

    Raises:
        InvalidInput: a study was made from something else, or an answer is not finite.
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
    """The runtime model of each image, by key: the stored one of its study, or else the
    calibration's or this machine's. Measures only if one is missing."""
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
        with phase("measuring how fast this machine explains"):
            model = runtime_model_for(workspace.classifier, images[0].pixels)
        models |= dict.fromkeys(missing, model)
    elif missing:
        assert calibration is not None
        called = request.calibrated or ""
        model = server_runtime_model(called, calibration, workspace.classifier, images)
        models |= dict.fromkeys(missing, model)
    return models


def _computed_before(storage: str, studies: Mapping[str, str], rule: str) -> dict[str, Reference]:
    """The stored references, by key, that were computed by this rule.

    Users' own masks are read again instead, as their files may have changed.

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
    """The images to tune; prints which references are doubtful and which images are left out.

    Args:
        least: the least reliability.

    Raises:
        InvalidInput: no image is left.
    """
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
