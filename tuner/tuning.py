"""One Optuna study for one image: created or resumed, and run to a number of trials."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from explainers.classifier import Classifier
from explainers.engines import make_engine
from explainers.errors import InvalidInput
from explainers.images import image_for
from explainers.lime_parameters import LimeParameters
from explainers.masks import check_reference
from explainers.perturbation_bank import PerturbationBank
from explainers.reference import Reference, parse_reference
from studies.assets import cache_folder
from studies.best_trial import has_front
from studies.front import FrontPoint
from studies.study_summary import summarise
from tuner.calibration import runtime_model_for
from tuner.faithfulness import AGREEMENT
from tuner.runtime_model import RuntimeModel
from tuner.search_space import SearchSpace
from tuner.study_runner import StudyRunner, is_done
from tuner.task import TuningTask
from tuner.trial import TuningSettings

__all__ = ["TuningResult", "TuningSettings", "open_study", "run_study", "tune"]

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

    Args:
        facts: user attributes that identify the study (image, classifier, reference rule, ...).
        pareto: IoU and seconds as two objectives, instead of the score as one.

    Raises:
        InvalidInput: a study of that name exists and differs in one of the facts, or in its
            objectives.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=["maximize", "minimize"] if pareto else ["maximize"],
        load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
    )
    check_objectives(name, has_front(study), pareto)
    stored = study.user_attrs
    if stored and stored.get("calibration") != facts.get("calibration"):
        made, wanted = (_calibrated(each.get("calibration")) for each in (stored, facts))
        raise InvalidInput(
            f"study '{name}' was made with {made}, not with {wanted}, so their seconds do not "
            "compare: give another name with --study"
        )
    if stored:
        made_for, wanted_for = (
            str(each.get("objective", AGREEMENT)) for each in (stored, facts)
        )
        if made_for != wanted_for:
            raise InvalidInput(
                f"study '{name}' was made with --objective {made_for}, not {wanted_for}, so their "
                "scores do not compare: give another name with --study"
            )
    for fact, value in facts.items():
        if fact in ("package_versions", "runtime_model", "reference", "engine"):
            continue  # what was stored first stays; a run on newer packages may go on
        if fact in stored and stored[fact] != value:
            raise InvalidInput(
                f"study '{name}' was made with {fact}={_short(stored[fact])}, not "
                f"{_short(value)}: give another name with --study, or the same settings"
            )
    if "reference" in stored and stored["reference"]["rule"] != facts["reference"]["rule"]:
        raise InvalidInput(
            f"study '{name}' was made with the reference {stored['reference']['rule']}, not "
            f"{facts['reference']['rule']}: give another name with --study"
        )
    for fact, value in facts.items():
        if fact not in stored:
            study.set_user_attr(fact, value)
    return study


def check_objectives(name: str, made_with_front: bool, pareto: bool) -> None:
    """Refuse to go on with a study of other objectives.

    Raises:
        InvalidInput: with what to do.
    """
    if made_with_front != pareto:
        made, now = ("with", "without") if made_with_front else ("without", "with")
        raise InvalidInput(
            f"study '{name}' was made {made} --pareto and cannot go on {now} it: give another "
            "name with --study"
        )


def _calibrated(identity: Mapping[str, str] | None) -> str:
    if identity is None:
        return "the runtime model of this machine"
    return f"calibration {identity['name']} ({identity['runtime_sha256']})"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def package_versions() -> dict[str, str]:
    """Versions of what decides results."""
    return {name: metadata.version(name) for name in _PACKAGES}


def run_study(
    study: optuna.Study,
    task: TuningTask,
    settings: TuningSettings,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    winners: Sequence[LimeParameters] = (),
    on_score: Callable[[optuna.Trial, Sequence[float]], None] | None = None,
    portfolio: Sequence[LimeParameters] = (),
) -> TuningResult:
    """Run until the study has ``settings.trials`` finished trials, or time or answers are spent.

    Lime's defaults are always one of them, and run even where nothing else fits the budget.

    Interrupting keeps every finished trial; the one in progress is marked as failed.

    Args:
        winners: what won on other images, tried first in a study that is new.
        on_score: told of every trial that gets a score, and of that, while it can still be written
            to.
        portfolio: tried before them; see ``tuner.portfolio``.
    """
    deadline = None if settings.timeout is None else time.monotonic() + settings.timeout
    runner = StudyRunner(study, task, settings, on_trial, on_score)
    runner.begin(winners, portfolio)
    # A failed trial does not count, so the number is checked before each.
    while not is_done(study, settings) and (deadline is None or time.monotonic() < deadline):
        runner.one_trial()
    runner.finish()
    return result_of(study)


def result_of(study: optuna.Study) -> TuningResult:
    """What a study has found.

    Raises:
        InvalidInput: it has no finished trial.
    """
    found = summarise(study)
    if found is None:
        raise InvalidInput(f"study '{study.study_name}' has no finished trial yet")
    return TuningResult(
        parameters=found.parameters,
        best=found.best,
        default=found.default,
        trials=found.trials,
        pruned=found.pruned,
        study=study,
        front=found.front,
    )


def tune(
    image: NDArray[np.uint8],
    classifier: Classifier,
    reference: NDArray[np.bool_] | str = "gradcam@0.3",
    *,
    trials: int = 60,
    seeds: int = 10,
    runtime_weight: float = 0.1,
    sampler: str = "ceiling",
    engine: str = "auto",
    timeout: float | None = None,
    answers: int | None = None,
    constrain_fidelity: bool = False,
    pareto: bool = False,
    seed: int = 0,
    space: SearchSpace | None = None,
    storage: str | None = None,
    study: str = "image",
    bank: Path | PerturbationBank | None = None,
    runtime_model: RuntimeModel | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
) -> TuningResult:
    """Find LIME parameters for one image.

    Args:
        image: (H, W, 3) uint8 in the classifier's geometry, or Pillow's picture, which is brought
            into it; see ``explainers.images.image_for``.
        reference: (H, W) bool mask of the object, or ``METHOD@RULE``.
        trials: finished trials in the end; more are added when a stored study is resumed.
        answers: stop also when the study has asked for so many new classifier answers.
        constrain_fidelity: nothing wins that explains less than lime's defaults; see
            ``tuner.fidelity_constraint``.
        pareto: look for the whole front of IoU and seconds; ``result.front`` has it, and the best
            is what ``runtime_weight`` chooses from it.
        engine: who computes the classifier's answers; see ``explainers.engines``.
        storage: database URL; ``None`` keeps the study in memory.
        study: its name in the storage.
        bank: folder for classifier answers; ``None`` keeps them in memory.
        runtime_model: of this machine when ``None``; measured once, which takes a few seconds,
            and kept in the cache folder beside the converted engine.

    Returns:
        The result; ``result.parameters.as_kwargs()`` goes into stock ``explain_instance``.

    Raises:
        InvalidInput, UnusableReference: see the functions that this one strings together.
    """
    settings = TuningSettings(
        trials=trials,
        seeds=seeds,
        confirm_seeds=3 * seeds,
        runtime_weight=runtime_weight,
        sampler=sampler,
        timeout=timeout,
        answers=answers,
        seed=seed,
        space=space or SearchSpace(),
        constrain_fidelity=constrain_fidelity,
        pareto=pareto,
    )
    image = image_for(image, classifier.geometry, classifier.name)
    if isinstance(reference, str):
        known = parse_reference(reference).of(classifier, image, "the image")
    else:
        mask = np.asarray(reference).astype(bool)
        check_reference(mask, "the image")
        known = Reference(mask, "given")
    task = TuningTask(
        image=image,
        source=make_engine(classifier, engine, image=image, cache=cache_folder() / "engines"),
        reference=known,
        bank=bank if isinstance(bank, PerturbationBank) else PerturbationBank(bank),
        runtime_model=runtime_model or runtime_model_for(classifier, image),
        threads=torch.get_num_threads(),
    )
    opened = None
    if storage is not None:
        from studies.storage import open_storage

        opened = open_storage(storage)
    facts = study_facts(task, classifier, settings, catalog="", key=study, class_index=None)
    return run_study(open_study(study, opened, facts, pareto=pareto), task, settings, on_trial)


def study_facts(
    task: TuningTask,
    classifier: Classifier,
    settings: TuningSettings,
    *,
    catalog: str,
    key: str,
    class_index: int | None,
    calibration: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The user attributes that say what a study was made from.

    Args:
        calibration: which one the runtime model comes from; ``None`` for this machine's own.
    """
    original = task.bank.original(task.source, task.image, task.digest)
    index = int(np.argmax(original)) if class_index is None else class_index
    return {
        # First, so that a study that was cut off while it was made cannot lack it.
        **({} if calibration is None else {"calibration": dict(calibration)}),
        "catalog": catalog,
        "image_key": key,
        "image_sha256": task.digest,
        "classifier": {"name": classifier.name, "sha256": classifier.fingerprint},
        "class_index": index,
        "class_name": classifier.class_name(index),
        "probability": round(float(original[index]), 4),
        "reference": task.reference.to_json(),
        "mask_rule": task.mask_rule.as_kwargs(),
        "runtime_weight": settings.runtime_weight,
        "runtime_model": task.runtime_model.to_json(),
        "search_space": settings.space.to_json(),
        "constraints": ["fidelity"] if settings.constrain_fidelity else [],
        "objective": settings.objective,
        "engine": getattr(task.source, "name", "classifier"),
        "package_versions": package_versions(),
    }
