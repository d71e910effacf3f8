"""One study over a catalogue, which looks for one setting that serves all of its images.

Every trial's value is an aggregate over the images: their mean, or a lower quantile, which is high
only for settings that are bad on few images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters
from studies.results.attributes import LABELS
from tuner.problem import CatalogTask, TuningSettings
from tuner.tuning import (
    TuningResult,
    check_finite_answer,
    facts_in_common,
    priced_as_stored,
    run_study,
)

__all__ = ["catalog_facts", "run_catalog_study", "values_on", "with_stored_prices"]


def run_catalog_study(
    study: optuna.Study,
    task: CatalogTask,
    settings: TuningSettings,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    portfolio: Sequence[LimeParameters] = (),
) -> TuningResult:
    """Run a catalogue's study, as :func:`tuner.tuning.run_study` runs that of one image."""
    return run_study(study, task, settings, on_trial, portfolio=portfolio)


def catalog_facts(
    task: CatalogTask,
    classifier: Classifier,
    settings: TuningSettings,
    *,
    catalog: str,
    rule: str,
    calibration: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The user attributes that say what a catalogue's study is made from.

    Args:
        catalog: name of the catalogue.
        rule: the references' ``METHOD@RULE``, or where their masks come from.
        calibration: identity of the calibration that the runtime model comes from; ``None`` for
            this machine's own.

    Raises:
        InvalidInput: the classifier's answer about an image is not finite.
    """
    for key, one in task.tasks.items():
        check_finite_answer(one, key)
    images = {
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
    }
    explained = {"class_index": None, "reference": {"rule": rule, "sha256": task.digest}}
    return facts_in_common(task, classifier, settings, images, explained, calibration)


def with_stored_prices(task: CatalogTask, study: optuna.Study) -> CatalogTask:
    """The task with the runtime model that is stored with the study.

    Raises:
        InvalidInput: the stored model is damaged.
    """
    name, facts = study.study_name, study.user_attrs
    priced = {key: priced_as_stored(one, name, facts) for key, one in task.tasks.items()}
    return CatalogTask(priced, task.aggregate)


def values_on(
    task: CatalogTask, parameters: LimeParameters, seeds: Sequence[int]
) -> dict[str, float]:
    """Mean IoU over the seeds of a setting, by key of the image."""
    return {key: float(np.mean(one.ious(parameters, seeds))) for key, one in task.tasks.items()}
