"""Explain every image with a submission's parameters by stock lime, and score the masks."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from explainers.classifiers import Classifier
from studies.export import explain_with_stock_lime, stock_kwargs
from studies.export.stock_lime import StockExplanation
from studies.web.evaluator.process import Result
from studies.web.evaluator.task import GradingTask

__all__ = ["TooManySuperpixels", "evaluate", "warm_up"]

_WARM_UP_SAMPLES = 20


class TooManySuperpixels(Exception):
    """A segmentation has more superpixels than the limit."""


def evaluate(
    task: GradingTask,
    classifier: Classifier,
    parameters: Mapping[str, Mapping[str, Any]],
    most_superpixels: int,
) -> Result:
    """Return IoU (mean over repeats) and seconds (median over repeats) of every image.

    Raises:
        TooManySuperpixels: checked before anything is explained.
        Exception: any error that lime raises with these parameters.
    """
    for key, plain in parameters.items():
        segmentation = stock_kwargs(plain)["segmentation_fn"]
        count = 0 if segmentation is None else len(np.unique(segmentation(task.images[key])))
        if count > most_superpixels:
            raise TooManySuperpixels(
                f"{key}: segmentation_fn gives {count} superpixels, at most {most_superpixels} "
                "are explained here"
            )
    found = {}
    for key, plain in parameters.items():
        runs = [
            # lime fits regressors in place, so every run gets new objects.
            _explained(task, classifier, key, stock_kwargs(plain), task.first_seed + repeat)
            for repeat in range(task.repeats)
        ]
        found[key] = {
            "iou": float(np.mean([run.iou for run in runs])),
            "time": float(median(run.seconds for run in runs)),
            "label": classifier.class_name(runs[0].label),
        }
    return found


def warm_up(task: GradingTask, classifier: Classifier) -> None:
    """Explain twice, so that the seconds of the first image do not include imports and caches."""
    for _ in range(2):
        _explained(task, classifier, task.keys[0], {"num_samples": _WARM_UP_SAMPLES}, 0)


def _explained(
    task: GradingTask, classifier: Classifier, key: str, kwargs: Mapping[str, Any], seed: int
) -> StockExplanation:
    return explain_with_stock_lime(
        task.images[key], task.references[key], classifier.predict_proba, kwargs, seed=seed,
        mask_rule=task.mask_rule.as_kwargs(),
    )  # fmt: skip
