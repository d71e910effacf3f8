"""One Optuna study for one image: created or resumed, and run to a number of trials."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from PIL import Image

from explainers.classifiers import Classifier
from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.images import as_image, image_for
from explainers.lime import LimeParameters, PredictionCache
from explainers.references import given_mask, parse_reference
from studies.catalog.assets import cache_folder
from studies.results.attributes import LABEL
from studies.results.front import FrontPoint
from studies.results.summary import summarise
from studies.storage import open_storage
from studies.storage.reconnecting import ReconnectingStorage
from tuner.problem import TuningTask
from tuner.problem.settings import FIDELITY, TuningSettings
from tuner.runtime.calibration import runtime_model_for
from tuner.runtime.model import RuntimeModel
from tuner.study import StudyRunner
from tuner.study.identity import (
    StudyIdentity,
    check_identity,
    read_studies,
    stored_reference,
    stored_runtime_model,
)

__all__ = [
    "TuningResult", "TuningSettings", "as_stored", "open_study", "run_study", "tune",
]  # fmt: skip

_PACKAGES = ("lime", "optuna", "torch", "torchvision", "scikit-image", "scikit-learn", "numpy")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuningResult:
    """What a study has found so far.

    Attributes:
        best, default: summaries as in ``tune --json``; the defaults are always among the trials,
            so the best is never worse.
        trials: finished trials; ``pruned`` of them were stopped early.
        front: of a study with two objectives, fastest first; ``None`` where there is one.
    """

    parameters: LimeParameters
    best: dict[str, Any]
    default: dict[str, Any]
    trials: int
    pruned: int
    study: optuna.Study
    front: tuple[FrontPoint, ...] | None = None

    @property
    def score(self) -> float:
        """The best trial's score."""
        return float(self.best["score"])

    @property
    def iou(self) -> float:
        """The best trial's mean IoU over its seeds."""
        return float(self.best["iou"])


def open_study(
    name: str,
    storage: optuna.storages.BaseStorage | None,
    facts: dict[str, Any],
    *,
    pareto: bool = False,
) -> optuna.Study:
    """Create a study, or resume it when it was made from the same things.

    Of two calls that make one at the same time one is first, and the other is compared with it.

    Args:
        facts: user attributes that identify the study (image, classifier, reference, ...); those
            that a stored one lacks are added.
        pareto: IoU and seconds as two objectives, instead of the score as one.

    Raises:
        InvalidInput: a study of that name exists and differs in one of the facts, or in its
            objectives, or is somebody else's.
    """
    kept = optuna.storages.InMemoryStorage() if storage is None else storage
    wanted = StudyIdentity.of(facts, pareto=pareto)
    while not _made_or_resumed(name, kept, wanted):
        pass  # somebody was quicker: what they wrote is compared, too
    return optuna.load_study(study_name=name, storage=kept, pruner=optuna.pruners.NopPruner())


def _made_or_resumed(
    name: str, storage: optuna.storages.BaseStorage, wanted: StudyIdentity
) -> bool:
    """Whether all of the facts are stored; not where somebody wrote one in the meantime."""
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
    """The task with the mask and the prices that all of the study's trials have.

    A computed mask may be some pixels another here, and runtimes measured anew are never the same.

    Raises:
        InvalidInput: what is stored is damaged.
    """
    name, facts = study.study_name, study.user_attrs
    reference = stored_reference(name, facts) or task.reference
    model = stored_runtime_model(name, facts) or task.runtime_model
    if reference.sha256 == task.reference.sha256 and model == task.runtime_model:
        return task
    return replace(task, reference=reference, runtime_model=model, _views={})


def package_versions() -> dict[str, str]:
    """Versions of what decides results."""
    return {name: metadata.version(name) for name in _PACKAGES}


def run_study(
    study: optuna.Study,
    task: TuningTask,
    settings: TuningSettings,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    other_incumbents: Sequence[LimeParameters] = (),
    on_score: Callable[[optuna.Trial, Sequence[float]], None] | None = None,
    portfolio: Sequence[LimeParameters] = (),
) -> TuningResult:
    """Run until the study has ``settings.trials`` finished trials, or time or answers are spent.

    Lime's defaults are always one of them, and run even where nothing else fits the budget.

    Interrupting keeps every finished trial; the one in progress is marked as failed.

    Args:
        other_incumbents: incumbents of other images, tried first in a study that is new.
        on_score: told of every trial that gets a score, and of that, while it can still be written
            to.
        portfolio: tried before them; see ``tuner.portfolio``.
    """
    runner = StudyRunner(study, task, settings, on_trial, on_score)
    runner.begin(other_incumbents, portfolio)
    runner.run()
    return result_of(study)


def result_of(study: optuna.Study) -> TuningResult:
    """What a study has found.

    Raises:
        InvalidInput: it has no finished trial.
    """
    summary = summarise(study)
    if summary is None:
        raise InvalidInput(f"study '{study.study_name}' has no finished trial yet")
    return TuningResult(
        parameters=summary.parameters,
        best=summary.best,
        default=summary.default,
        trials=summary.trials,
        pruned=summary.pruned,
        study=study,
        front=summary.front,
    )


def tune(
    image: NDArray[np.uint8] | Image.Image,
    classifier: Classifier,
    reference: NDArray[np.bool_] | str = "gradcam@0.3",
    *,
    engine: str = "auto",
    storage: str | None = None,
    study: str = "image",
    cache: Path | PredictionCache | None = None,
    runtime_model: RuntimeModel | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    **settings: Any,
) -> TuningResult:
    """Find LIME parameters for one image.

    Args:
        image: (H, W, 3) uint8 in the classifier's geometry, or Pillow's picture, which is brought
            into it; see ``explainers.images.image_for``.
        reference: (H, W) bool mask of the object, which follows a picture of its size, or
            ``METHOD@RULE``.
        engine: who computes the classifier's answers; see ``explainers.engines``.
        storage: database URL; ``None`` keeps the study in memory.
        study: its name in the storage.
        cache: folder for classifier answers; ``None`` keeps them in memory.
        runtime_model: of this machine when ``None``; measured once, which takes a few seconds,
            and kept in the cache folder beside the converted engine. A stored study goes on with
            its own.
        settings: fields of :class:`TuningSettings`: ``trials=60``, ``seeds=10``,
            ``sampler="ceiling"``, ``pareto=True``, ``constrain="fidelity"``, ...

    Returns:
        The result; ``result.parameters.as_kwargs()`` goes into stock ``explain_instance``.

    Raises:
        InvalidInput, UnusableReference: see the functions that this one strings together.
    """
    chosen = TuningSettings.of(settings)
    photograph = None
    if isinstance(image, Image.Image):
        image = Image.fromarray(as_image(image))  # upright
        photograph = image.size
    image = image_for(image, classifier.geometry, classifier.name)
    if isinstance(reference, str):
        known = parse_reference(reference).of(classifier, image, "the image")
    else:
        known = given_mask(
            reference, image.shape[:2], geometry=classifier.geometry, photograph=photograph
        )
    task = TuningTask(
        image=image,
        source=make_engine(classifier, engine, image=image, cache=cache_folder() / "engines"),
        reference=known,
        cache=cache if isinstance(cache, PredictionCache) else PredictionCache(cache),
        runtime_model=_prices(storage, study, runtime_model)
        or runtime_model_for(classifier, image),
        threads=torch.get_num_threads(),
    )
    facts = study_facts(task, classifier, chosen, catalog="", key=study)
    opened = open_study(study, None if storage is None else open_storage(storage), facts,
                        pareto=chosen.pareto)  # fmt: skip
    return run_study(opened, as_stored(task, opened), chosen, on_trial)


def _prices(storage: str | None, study: str, given: RuntimeModel | None) -> RuntimeModel | None:
    """The runtime model that a stored study has, or what was given; nothing is measured."""
    facts = {} if storage is None else read_studies(storage, [study]).get(study, {})
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
    """The user attributes that say what a study was made from.

    Args:
        calibration: which one the runtime model comes from; ``None`` for this machine's own.

    Raises:
        InvalidInput: the classifier's answer is no probabilities.
    """
    answered(task, key)
    index = task.explained
    return {
        # First, so that a study that was cut off while it was made cannot lack it.
        **({} if calibration is None else {"calibration": dict(calibration)}),
        "catalog": catalog,
        "image_key": key,
        "image_sha256": task.digest,
        "classifier": {"name": classifier.name, "sha256": classifier.fingerprint},
        "network": classifier.to_json(),
        "class_index": index,
        "class_name": classifier.class_name(index),
        "probability": round(float(task.original[index]), 4),
        LABEL: task.label,
        "reference": task.reference.to_json(),
        "cam_layer": getattr(classifier, "cam_layer", None),
        "mask_rule": task.mask_rule.as_kwargs(),
        "runtime_weight": settings.runtime_weight,
        "runtime_model": task.runtime_model.to_json(),
        "search_space": settings.space.to_json(),
        "constraints": [FIDELITY] if settings.constrain_fidelity else [],
        "objective": settings.objective,
        **search_facts(settings),
        "engine": getattr(task.source, "name", "classifier"),
        "package_versions": package_versions(),
    }


def search_facts(settings: TuningSettings) -> dict[str, Any]:
    """What the search is made of, beside its space; how long it goes on may change."""
    return {"sampler": settings.sampler, "seeds": settings.seeds, "seed": settings.seed}


def answered(task: TuningTask, key: str) -> NDArray[np.float32]:
    """(K,) what the classifier answers about the whole image.

    Args:
        key: of the image.

    Raises:
        InvalidInput: it answers NaN or infinity, which no explanation is like.
    """
    original = task.cache.original(task.source, task.image, task.digest)
    if not np.isfinite(original).all():
        raise InvalidInput(
            f"the classifier's answer about '{key}' is not finite (NaN or infinity): check its "
            "weights, and what it does with the image"
        )
    return original
