"""A submission is explained with stock lime, image by image, and compared with the references."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from explainers.classifier import Classifier
from studies.export import explain_with_stock_lime, stock_kwargs
from studies.web.evaluator.task import Exam

__all__ = ["TooManySuperpixels", "evaluate", "warm_up"]

_WARM_UP_SAMPLES = 20


class TooManySuperpixels(Exception):
    """A segmentation gave more than the limit."""


def evaluate(
    exam: Exam,
    classifier: Classifier,
    parameters: Mapping[str, Mapping[str, Any]],
    most_superpixels: int,
) -> dict[str, dict[str, Any]]:
    """IoU (mean over repeats) and seconds (median over repeats) of every image.

    Raises:
        TooManySuperpixels: counted before anything is explained.
        Exception: whatever lime raises with these parameters.
    """
    for key, plain in parameters.items():
        _check_superpixels(key, exam, plain, most_superpixels)
    found = {}
    for key, plain in parameters.items():
        runs = [
            explain_with_stock_lime(
                exam.images[key],
                exam.references[key],
                classifier.predict_proba,
                stock_kwargs(plain),
                seed=exam.first_seed + repeat,
                mask_rule=exam.mask_rule.as_kwargs(),
            )
            for repeat in range(exam.repeats)
        ]
        found[key] = {
            "iou": float(np.mean([run.iou for run in runs])),
            "time": float(median(run.seconds for run in runs)),
            "label": classifier.class_name(runs[0].label),
        }
    return found


def _check_superpixels(key: str, exam: Exam, plain: Mapping[str, Any], most: int) -> None:
    segmentation = stock_kwargs(plain)["segmentation_fn"]
    if segmentation is None:
        return
    count = len(np.unique(segmentation(exam.images[key])))
    if count > most:
        raise TooManySuperpixels(
            f"{key}: segmentation_fn gives {count} superpixels, at most {most} are explained here"
        )


def warm_up(exam: Exam, classifier: Classifier) -> None:
    """So that the first image is not charged for imports and first calls."""
    key = exam.keys[0]
    for _ in range(2):
        explain_with_stock_lime(
            exam.images[key],
            exam.references[key],
            classifier.predict_proba,
            {"num_samples": _WARM_UP_SAMPLES},
            seed=0,
            mask_rule=exam.mask_rule.as_kwargs(),
        )
