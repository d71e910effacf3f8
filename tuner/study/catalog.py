"""One study over a catalogue: a setting that serves all of its images, and how well it transfers.

Every trial's value is an aggregate over the images (their mean, or a lower quantile: a robust
setting is one that is bad nowhere).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters
from studies.results.attributes import LABELS
from tuner.problem import CatalogTask, TuningSettings
from tuner.study.identity import stored_runtime_model
from tuner.study.runner import StudyRunner
from tuner.tuning import TuningResult, answered, package_versions, result_of, search_facts

__all__ = [
    "catalog_facts", "run_catalog_study", "values_on",
    "with_stored_prices",
]  # fmt: skip


def run_catalog_study(
    study: optuna.Study,
    task: CatalogTask,
    settings: TuningSettings,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    portfolio: Sequence[LimeParameters] = (),
) -> TuningResult:
    """Run until the study has its trials; as :func:`tuner.tuning.run_study` does for an image."""
    runner = StudyRunner(study, task, settings, on_trial)
    runner.begin(portfolio=portfolio)
    runner.run()
    return result_of(study)


def catalog_facts(
    task: CatalogTask,
    classifier: Classifier,
    settings: TuningSettings,
    *,
    catalog: str,
    rule: str,
    calibration: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The user attributes that say what a catalogue's study was made from.

    Args:
        rule: of the references.

    Raises:
        InvalidInput: the classifier's answer about an image is no probabilities.
    """
    for key, one in task.tasks.items():
        answered(one, key)
    return {
        **({} if calibration is None else {"calibration": dict(calibration)}),
        "scope": "catalog",
        "catalog": catalog,
        "image_key": "",
        "images": {key: one.digest for key, one in task.tasks.items()},
        "reference_areas": {
            key: round(float(one.reference.mask.mean()), 6) for key, one in task.tasks.items()
        },
        LABELS: {key: one.label for key, one in task.tasks.items() if one.label is not None},
        "aggregate": task.aggregate.text,
        "most_runtime": settings.most_runtime,
        "classifier": {"name": classifier.name, "sha256": classifier.fingerprint},
        "network": classifier.to_json(),
        "class_index": None,
        "reference": {"rule": rule, "sha256": task.digest},
        "mask_rule": task.mask_rule.as_kwargs(),
        "runtime_weight": settings.runtime_weight,
        "runtime_model": task.runtime_model.to_json(),
        "search_space": settings.space.to_json(),
        "constraints": [],
        "cam_layer": getattr(classifier, "cam_layer", None),
        **search_facts(settings),
        "engine": getattr(next(iter(task.tasks.values())).source, "name", "classifier"),
        "package_versions": package_versions(),
    }


def with_stored_prices(task: CatalogTask, study: optuna.Study) -> CatalogTask:
    """The task with the runtime model that all of the study's trials are priced with.

    Raises:
        InvalidInput: what is stored is damaged.
    """
    model = stored_runtime_model(study.study_name, study.user_attrs)
    if model is None or model == task.runtime_model:
        return task
    priced = {key: replace(one, runtime_model=model) for key, one in task.tasks.items()}
    return CatalogTask(priced, task.aggregate)


def values_on(
    task: CatalogTask, parameters: LimeParameters, seeds: Sequence[int]
) -> dict[str, float]:
    """Mean IoU of a setting on each image."""
    return {key: float(np.mean(one.ious(parameters, seeds))) for key, one in task.tasks.items()}
