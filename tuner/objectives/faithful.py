"""``tune --objective faithful``: how well an explanation describes the classifier, without a mask.

Three measures, each in [0, 1], count alike:

- R² of the surrogate on perturbations that it was not fitted to (lime's own claim; Ribeiro, Singh
  and Guestrin 2016), cut off at 0;
- insertion minus deletion area (Petsiuk, Das and Saenko 2018, RISE), cut off at 0;
- agreement of the masks of different explainer seeds (mean Jaccard index): an explanation that
  hangs on luck describes nothing.

score = (R² + insertion - deletion + agreement) / 3 - runtime weight × relative runtime
        - 3 × what is missing to a lead of 0.05 over lime's defaults in R², and in insertion minus
        deletion

The last term keeps one measure from being bought with another: coarse superpixels are easily
predicted and rank badly, fine ones the other way round. A smaller lead may be luck: insertion minus
deletion of the defaults differed by 0.01 to 0.06 between sets of two or three seeds. The defaults
have no lead over themselves either, so what equals them and is faster wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explainers.faithfulness import Faithfulness
from explainers.fidelity import deletion_curve, insertion_curve, superpixel_map
from explainers.lime import explained_label
from explainers.lime_parameters import LimeParameters
from explainers.masks import selected_superpixels
from explainers.measures import surrogate_r2
from explainers.stability import mask_stability
from tuner.problem import TuningTask

__all__ = ["AGREEMENT", "FAITHFUL", "OBJECTIVES", "FaithfulnessMeter"]

AGREEMENT, FAITHFUL = "agreement", "faithful"
OBJECTIVES = (AGREEMENT, FAITHFUL)
"""What a trial is worth: its IoU with the reference, or its faithfulness."""


class FaithfulnessMeter:
    """Measures settings on one image, and asks nothing twice.

    The bank keeps answers to perturbations; those along the curves of a ranking are kept here,
    because seeds and settings often rank alike.
    """

    def __init__(self, task: TuningTask) -> None:
        self._task = task
        self._gains: dict[tuple[bytes, int], float] = {}
        self._seeds: dict[tuple[LimeParameters, int], _OneSeed] = {}

    def measure(self, parameters: LimeParameters, seeds: Sequence[int]) -> Faithfulness:
        """Explanations of some seeds."""
        found = [self._seed(parameters, seed) for seed in seeds]
        return Faithfulness(
            float(np.mean([each.r2 for each in found])),
            float(np.mean([each.gain for each in found])),
            mask_stability([each.mask for each in found]),
        )

    def _seed(self, parameters: LimeParameters, seed: int) -> _OneSeed:
        key = (parameters, seed)
        if key not in self._seeds:
            self._seeds[key] = self._explained(parameters, seed)
        return self._seeds[key]

    def _explained(self, parameters: LimeParameters, seed: int) -> _OneSeed:
        task = self._task
        found = task.explain(parameters, seed)
        label = explained_label(found)
        local = [(int(s), float(w)) for s, w in found.local_exp[label]]
        r2 = surrogate_r2(
            found.segments, dict(local), float(found.intercept[label]), parameters.hide_color,
            label, task.image, task.source, task.bank,
        )  # fmt: skip
        ranking = superpixel_map(found.segments, dict(local))
        mask = np.isin(found.segments, selected_superpixels(local, task.mask_rule))
        return _OneSeed(r2, self._gain(ranking, label), mask)

    def _gain(self, ranking: NDArray[np.float64], label: int) -> float:
        order = np.argsort(-ranking.ravel(), kind="stable").astype(np.int32)
        key = (hashlib.sha256(order.tobytes()).digest(), label)
        if key not in self._gains:
            inserted = insertion_curve(self._predict, self._task.image, ranking, label).area
            removed = deletion_curve(self._predict, self._task.image, ranking, label).area
            self._gains[key] = inserted - removed
        return self._gains[key]

    def _predict(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        self._task.bank.counts.needed += len(images)
        self._task.bank.counts.new += len(images)
        answers: NDArray[np.floating] = np.asarray(self._task.source.predict_proba(images))
        return answers


@dataclass(frozen=True, eq=False)
class _OneSeed:
    r2: float
    gain: float
    mask: NDArray[np.bool_]
