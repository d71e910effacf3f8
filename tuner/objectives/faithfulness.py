"""Measures how well explanations describe the classifier, seed by seed."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explainers.lime import LimeParameters, explained_label
from explainers.masks import selected_superpixels
from explainers.metrics import (
    Faithfulness,
    insertion_minus_deletion,
    mask_stability,
    superpixel_map,
    surrogate_r2,
)
from tuner.problem import TuningTask

__all__ = ["FaithfulnessMeter", "MeasuredSeed", "measure_seed"]

_Gains = MutableMapping[tuple[bytes, int], float]


@dataclass(frozen=True, eq=False)
class MeasuredSeed:
    """Measures of one explanation.

    Attributes:
        r2: the surrogate's R² on held-out perturbations, at most 1.
        gain: insertion area minus deletion area.
        mask: (H, W) bool.
    """

    r2: float
    gain: float
    mask: NDArray[np.bool_]


def measure_seed(
    task: TuningTask, parameters: LimeParameters, seed: int, gains: _Gains | None = None
) -> MeasuredSeed:
    """Explain an image with the task's cache, and measure the explanation.

    Predictions for the insertion and deletion curves are not cached: 58 a ranking, counted as new.

    Args:
        gains: known gains of this image, by the digest of the ranking and the label; new ones are
            added.
    """
    explanation = task.explain(parameters, seed)
    label = explained_label(explanation)
    local = [(int(s), float(w)) for s, w in explanation.local_exp[label]]
    r2 = surrogate_r2(
        explanation.segments, dict(local), float(explanation.intercept[label]),
        parameters.hide_color, label, task.image, task.source, task.cache,
    )  # fmt: skip
    ranking = superpixel_map(explanation.segments, dict(local))
    mask = np.isin(explanation.segments, selected_superpixels(local, task.mask_rule))
    return MeasuredSeed(r2, _gain(task, ranking, label, {} if gains is None else gains), mask)


def _gain(task: TuningTask, ranking: NDArray[np.float64], label: int, gains: _Gains) -> float:
    def predict(images: NDArray[np.uint8]) -> NDArray[np.floating]:
        task.cache.counts.needed += len(images)
        task.cache.counts.new += len(images)
        return np.asarray(task.source.predict_proba(images))

    order = np.argsort(-ranking.ravel(), kind="stable").astype(np.int32)
    key = (hashlib.sha256(order.tobytes()).digest(), label)
    if key not in gains:
        gains[key] = insertion_minus_deletion(predict, task.image, ranking, label)
    return gains[key]


class FaithfulnessMeter:
    """Measures settings on one image, without repeating predictions.

    The task's cache keeps predictions for perturbations. This keeps the gain of each ranking,
    because different seeds and settings often give the same one.
    """

    def __init__(self, task: TuningTask) -> None:
        self._task = task
        self._gains: dict[tuple[bytes, int], float] = {}
        self._seeds: dict[tuple[LimeParameters, int], MeasuredSeed] = {}

    def measure(self, parameters: LimeParameters, seeds: Sequence[int]) -> Faithfulness:
        """Means over the explanations with these seeds."""
        measured = [self._seed(parameters, seed) for seed in seeds]
        return Faithfulness(
            float(np.mean([each.r2 for each in measured])),
            float(np.mean([each.gain for each in measured])),
            mask_stability([each.mask for each in measured]),
        )

    def _seed(self, parameters: LimeParameters, seed: int) -> MeasuredSeed:
        key = (parameters, seed)
        if key not in self._seeds:
            self._seeds[key] = measure_seed(self._task, parameters, seed, self._gains)
        return self._seeds[key]
