"""Create or resume the Optuna study of one image, and run it to a number of trials."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from PIL import Image

from explainers.classifiers import Classifier, as_classifier
from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters, PredictionCache
from explainers.references import Reference, given_mask, parse_reference
from studies.catalog.assets import cache_folder
from studies.results.attributes import LABEL
from studies.storage import open_storage
from studies.storage.reconnecting import ReconnectingStorage
from tuner.problem import SearchTask, TuningTask
from tuner.problem.settings import FAITHFUL, TuningSettings
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.model import RuntimeModel
from tuner.study import StudyRunner
from tuner.study.given_image import GivenImage, given_image
from tuner.study.identity import (
    StudyIdentity,
    check_identity,
    read_studies,
    stored_reference,
    stored_runtime_model,
)
from tuner.study.result import TunedImage, TuningResult, result_of
from tuner.study.trial_bar import few_words, trial_bar

__all__ = [
    "TuningResult", "TuningSettings", "as_stored", "open_study", "result_of", "run_study", "tune",
]  # fmt: skip

_DEFAULT_REFERENCE = "gradcam@0.3"
_PACKAGES = ("lime", "optuna", "torch", "torchvision", "scikit-image", "scikit-learn", "numpy")
_logger = logging.getLogger(__name__)


def open_study(
    name: str,
    storage: optuna.storages.BaseStorage | None,
    facts: dict[str, Any],
    *,
    pareto: bool = False,
) -> optuna.Study:
    """Create a study, or resume the stored one if it was made from the same facts.

    When two processes create one at the same time, the first one wins, and the facts of the second
    are compared with what the first has stored.

    Args:
        facts: user attributes that identify the study (image, classifier, reference, ...); those
            that a stored study lacks are added to it.
        pareto: IoU and seconds as two objectives, instead of the score as one.

    Raises:
        InvalidInput: a study of that name exists, and it differs in one of the facts or in its
            objectives, or another program made it.
    """
    kept = optuna.storages.InMemoryStorage() if storage is None else storage
    wanted = StudyIdentity.of(facts, pareto=pareto)
    while not _made_or_resumed(name, kept, wanted):
        pass  # another process wrote first: compare with what it wrote
    return optuna.load_study(study_name=name, storage=kept, pruner=optuna.pruners.NopPruner())


def _made_or_resumed(
    name: str, storage: optuna.storages.BaseStorage, wanted: StudyIdentity
) -> bool:
    """Store the facts that are missing; ``False`` where another process wrote meanwhile."""
    stored = check_identity(storage, name, wanted)
    if stored is None:
        if isinstance(storage, ReconnectingStorage):
            return storage.create_whole_study(name, wanted.directions, wanted.facts)
        study_id, missing = storage.create_new_study(wanted.directions, name), wanted.facts
    else:
        study_id, missing = stored.study_id, stored.identity.missing(wanted)
        if isinstance(storage, ReconnectingStorage):
            return not missing or storage.add_study_attributes(study_id, missing)
    for fact, value in missing.items():
        storage.set_study_user_attr(study_id, fact, value)
    return True


def as_stored(task: TuningTask, study: optuna.Study) -> TuningTask:
    """The task with the reference and the runtime model that are stored with the study.

    A mask computed here may differ in some pixels from the stored one, and measured runtimes
    always differ. All trials of a study must be scored with the same ones.

    Raises:
        InvalidInput: a stored value is damaged.
    """
    name, facts = study.study_name, study.user_attrs
    reference = stored_reference(name, facts) or task.reference
    if reference.sha256 != task.reference.sha256:
        task = replace(task, reference=reference, _views={})
    return priced_as_stored(task, name, facts)


def priced_as_stored(task: TuningTask, name: str, facts: Mapping[str, Any]) -> TuningTask:
    """The task with the runtime model that is stored with a study.

    Args:
        name: name of the study.
        facts: the study's user attributes.

    Raises:
        InvalidInput: the stored model is damaged.
    """
    model = stored_runtime_model(name, facts)
    if model is None or model == task.runtime_model:
        return task
    return replace(task, runtime_model=model)


def package_versions() -> dict[str, str]:
    """Installed versions, by name, of the packages that results depend on."""
    return {name: metadata.version(name) for name in _PACKAGES}


def run_study(
    study: optuna.Study,
    task: SearchTask,
    settings: TuningSettings,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    other_incumbents: Sequence[LimeParameters] = (),
    on_score: Callable[[optuna.Trial, Sequence[float]], None] | None = None,
    portfolio: Sequence[LimeParameters] = (),
) -> TuningResult:
    """Run until the study has ``settings.trials`` finished trials, or its budget is spent.

    The budget is time or new predictions. Lime's defaults are always one of the trials, and are run
    even after the budget is spent. Interrupting keeps every finished trial and marks the running
    one as failed.

    Args:
        other_incumbents: incumbents of other images, tried first in a study that is new.
        on_score: called with each trial that gets a score and its values, while the trial can
            still be written to.
        portfolio: tried before them; see ``tuner.portfolio``.
    """
    runner = StudyRunner(study, task, settings, on_trial, on_score)
    runner.begin(other_incumbents, portfolio)
    runner.run()
    return result_of(study)


def tune(
    image: str | Path | Image.Image | NDArray[Any],
    classifier: str | Classifier | torch.nn.Module | Callable[[NDArray[np.uint8]], Any],
    reference: NDArray[np.bool_] | str | None = None,
    *,
    engine: str = "auto",
    storage: str | None = None,
    study: str = "image",
    cache: Path | PredictionCache | None = None,
    runtime_model: RuntimeModel | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> TuningResult:
    """Find LIME parameters for one image.

    Args:
        image: a picture file's path, a Pillow picture, or an array or tensor; see
            ``explainers.images.as_image``. An array of the size that the classifier takes stays
            as it is; everything else is resized and cropped to it.
        classifier: a name that ``load_classifier`` takes, a classifier, a network, or a function
            from (N, H, W, 3) uint8 to (N, C) probabilities; see
            ``explainers.classifiers.as_classifier``.
        reference: (H, W) bool mask of the object, or ``METHOD@RULE``, ``gradcam@0.3`` by default.
            A mask of the size of a photograph is resized and cropped like it. With
            ``objective="faithful"`` there is none by default.
        engine: what computes the classifier's predictions; see ``explainers.engines``.
        storage: database URL; ``None`` keeps the study in memory.
        study: its name in the storage.
        cache: folder or cache for predictions; ``None`` keeps them in memory.
        runtime_model: prices explanations. ``None`` uses this machine's, which is measured once (a
            few seconds) and kept in the cache folder. A stored study keeps its own.
        progress: whether to show a progress bar; ``None`` shows one in a notebook and where Python
            is typed at a prompt, and nothing in scripts. Optuna writes warnings only meanwhile.
        settings: fields of :class:`TuningSettings`: ``trials=60``, ``seeds=10``,
            ``sampler="ceiling"``, ``pareto=True``, ``constrain="none"``, ...

    Returns:
        The result; ``result.parameters.as_kwargs()`` are arguments of stock ``explain_instance``.

    Raises:
        InvalidInput: an argument is wrong, or a study of that name was made from something else.
        UnusableReference: the reference mask is empty or full.
    """
    facts = {} if storage is None else read_studies(storage, [study]).get(study, {})
    chosen = TuningSettings.of(settings).resumed(facts)
    with few_words(), trial_bar(chosen.trials, progress) as bar:
        bar.phase("loading the classifier")
        lasting = storage is not None or cache is not None
        network = as_classifier(classifier, lasting=lasting)
        given = given_image(image, network.geometry)
        bar.phase("making the reference")
        known = _reference(reference, network, given, chosen)
        bar.phase("converting the classifier")
        source = make_engine(network, engine, image=given.pixels, cache=cache_folder() / "engines")
        bar.phase("measuring how fast LIME is here")
        model = _prices(facts, study, runtime_model) or runtime_model_for(network, given.pixels)
        task = TuningTask(
            image=given.pixels,
            source=source,
            reference=known,
            cache=cache if isinstance(cache, PredictionCache) else PredictionCache(cache),
            runtime_model=model,
            threads=torch.get_num_threads(),
        )
        wanted = study_facts(task, network, chosen, catalog="", key=study)
        kept = None if storage is None else open_storage(storage)
        opened = open_study(study, kept, wanted, pareto=chosen.pareto)
        task = as_stored(task, opened)
        bar.begin(opened)

        def ended(trial: FrozenTrial) -> None:
            bar.on_trial(trial)
            if on_trial is not None:
                on_trial(trial)

        result = run_study(opened, task, chosen, ended)
    key = study.rpartition("/")[2] if given.key is None else given.key
    return replace(result, image=TunedImage(key, task, network, given.preparation))


def _reference(
    wanted: NDArray[np.bool_] | str | None,
    classifier: Classifier,
    image: GivenImage,
    settings: TuningSettings,
) -> Reference:
    if wanted is None and settings.objective == FAITHFUL:
        return Reference.none(image.pixels.shape[:2])
    if wanted is None or isinstance(wanted, str):
        rule = parse_reference(_DEFAULT_REFERENCE if wanted is None else wanted)
        return rule.of(classifier, image.pixels, "the image", at_scale=image.at_scale)
    size = None if image.photograph is None else image.photograph.size
    shape = image.pixels.shape[:2]
    return given_mask(wanted, shape, geometry=classifier.geometry, photograph=size)


def _prices(
    facts: Mapping[str, Any], study: str, given: RuntimeModel | None
) -> RuntimeModel | None:
    """The runtime model of a stored study, else the given one; measures nothing."""
    stored = stored_runtime_model(study, facts)
    if stored is not None and given is not None and stored != given:
        _logger.warning(
            "study '%s' goes on with the runtime model that it was made with, not with the one "
            "that was given", study,
        )  # fmt: skip
    return stored or given


def study_facts(
    task: TuningTask,
    classifier: Classifier,
    settings: TuningSettings,
    *,
    catalog: str,
    key: str,
    calibration: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The user attributes that say what the study of an image is made from.

    Args:
        catalog: name of the catalogue; may be empty.
        key: key of the image.
        calibration: identity of the calibration that the runtime model comes from; ``None`` for
            this machine's own.

    Raises:
        InvalidInput: the classifier's answer is not finite.
    """
    check_finite_answer(task, key)
    index = task.explained
    images = {"catalog": catalog, "image_key": key, "image_sha256": task.digest}
    explained = {
        "class_index": index,
        "class_name": classifier.class_name(index),
        "probability": round(float(task.original[index]), 4),
        LABEL: task.label,
        "reference": task.reference.to_json(),
        "objective": settings.objective,
    }
    return facts_in_common(task, classifier, settings, images, explained, calibration)


def facts_in_common(
    task: SearchTask,
    classifier: Classifier,
    settings: TuningSettings,
    images: Mapping[str, Any],
    explained: Mapping[str, Any],
    calibration: Mapping[str, str] | None,
) -> dict[str, Any]:
    """The facts of a study: those of its images, and those that every kind of study has.

    How long the search goes on is no fact: that may change when a study is resumed.

    Args:
        images: facts that say which images.
        explained: facts that say which class is explained and what it is compared with.
    """
    return {
        # First, so that no study whose creation was interrupted lacks it.
        **({} if calibration is None else {"calibration": dict(calibration)}),
        **images,
        "classifier": {"name": classifier.name, "sha256": classifier.fingerprint},
        "network": classifier.to_json(),
        **explained,
        "cam_layer": getattr(classifier, "cam_layer", None),
        "mask_rule": task.mask_rule.as_kwargs(),
        "runtime_weight": settings.runtime_weight,
        "runtime_model": task.runtime_model.to_json(),
        "search_space": settings.space.to_json(),
        "constraints": [] if settings.constraint is None else [settings.constraint.text],
        "sampler": settings.sampler,
        "seeds": settings.seeds,
        "seed": settings.seed,
        "engine": getattr(next(iter(task.tasks.values())).source, "name", "classifier"),
        "package_versions": package_versions(),
    }


def check_finite_answer(task: TuningTask, key: str) -> None:
    """Refuse a classifier whose answer about the whole image holds NaN or infinity.

    Args:
        key: key of the image.

    Raises:
        InvalidInput: the answer is not finite.
    """
    if not np.isfinite(task.original).all():
        raise InvalidInput(
            f"the classifier's answer about '{key}' is not finite (NaN or infinity): check its "
            "weights, and what it does with the image"
        )
