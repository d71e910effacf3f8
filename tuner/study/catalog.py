"""One study over a catalogue: a setting that serves all of its images, and how well it transfers.

Every trial's value is an aggregate over the images (their mean, or a lower quantile: a robust
setting is one that is bad nowhere).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from explainers.classifier import Classifier
from explainers.errors import InvalidInput
from explainers.lime_parameters import LimeParameters
from studies.attributes import LABELS
from tuner.problem import CatalogTask, SearchSpace, TuningSettings
from tuner.study.runner import StudyRunner
from tuner.study_identity import stored_runtime_model
from tuner.tuning import TuningResult, answered, package_versions, result_of, search_facts

__all__ = [
    "affordable", "catalog_facts", "check_share", "run_catalog_study", "values_on",
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
    StudyRunner(study, task, settings, on_trial).run(portfolio=portfolio)
    return result_of(study)


def catalog_facts(
    task: CatalogTask,
    classifier: Classifier,
    settings: TuningSettings,
    *,
    catalog: str,
    rule: str,
    most_runtime: float,
    calibration: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The user attributes that say what a catalogue's study was made from.

    Args:
        rule: of the references.
        most_runtime: see :func:`affordable`.

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
        "most_runtime": most_runtime,
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


def check_share(most_runtime: float) -> None:
    """Refuse a share of a runtime that is none.

    Raises:
        InvalidInput: it is no finite number above 0.
    """
    if not 0 < most_runtime < math.inf:
        raise InvalidInput(f"--most-runtime {most_runtime}: give a finite number above 0")


def affordable(space: SearchSpace, most_runtime: float) -> SearchSpace:
    """The space without numbers of samples that no image's explanation should have to pay for.

    Args:
        most_runtime: share of the runtime of lime's defaults, whose samples are nearly all of it.

    Raises:
        InvalidInput: nothing is left.
    """
    check_share(most_runtime)
    low, high = space.num_samples
    most = min(high, int(most_runtime * LimeParameters().num_samples))
    if most < low:
        raise InvalidInput(
            f"--most-runtime {most_runtime} allows {most} samples, the search space begins with "
            f"{low}: give at least {low / LimeParameters().num_samples:g}"
        )
    return replace(space, num_samples=(low, most))


def values_on(
    task: CatalogTask, parameters: LimeParameters, seeds: Sequence[int]
) -> dict[str, float]:
    """Mean IoU of a setting on each image."""
    return {key: float(np.mean(one.ious(parameters, seeds))) for key, one in task.tasks.items()}
