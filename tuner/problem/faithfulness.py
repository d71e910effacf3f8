"""Measures how well explanations describe the classifier, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explainers.images import array_digest
from explainers.lime import LimeParameters, explained_label
from explainers.masks import selected_superpixels
from explainers.metrics import (
    STEPS,
    Faithfulness,
    insertion_minus_deletion,
    mask_stability,
    superpixel_map,
    surrogate_r2,
)

if TYPE_CHECKING:
    from tuner.problem.task import TuningTask

__all__ = ["FaithfulnessMeter"]

_FEW_STEPS = 7  # of each curve, a quarter of what decides at last


@dataclass(frozen=True, eq=False)
class _Measured:
    """One explanation: its held-out R² (``nan`` where it was not measured), its insertion minus
    deletion area, and its (H, W) bool mask."""

    r2: float
    gain: float
    mask: NDArray[np.bool_]


class FaithfulnessMeter:
    """Measures settings on one image, without repeating predictions.

    The task's cache keeps predictions for perturbations. This keeps those for the pictures of
    insertion and deletion, because different seeds and settings often give the same ones.
    """

    def __init__(self, task: TuningTask) -> None:
        self._task = task
        self._measured: dict[tuple[LimeParameters, int, int, bool], _Measured] = {}
        self._gains: dict[tuple[str, int, int], float] = {}
        self._answers: dict[tuple[str, int], float] = {}

    def measure(
        self, parameters: LimeParameters, seeds: Sequence[int], steps: int = STEPS
    ) -> Faithfulness:
        """Means over the explanations with these seeds.

        Args:
            steps: of the insertion and of the deletion curve; fewer need fewer predictions.
        """
        measured = [self._seed(parameters, seed, steps, held_out=True) for seed in seeds]
        return Faithfulness(
            float(np.mean([each.r2 for each in measured])),
            float(np.mean([each.gain for each in measured])),
            mask_stability([each.mask for each in measured]),
        )

    def marked(self, parameters: LimeParameters, seeds: Sequence[int]) -> float:
        """Mean share of the picture that the masks of these explanations mark, in [0, 1]."""
        measured = [self._seed(parameters, seed, STEPS, held_out=True) for seed in seeds]
        return float(np.mean([each.mask.mean() for each in measured]))

    def lead(self, parameters: LimeParameters) -> float:
        """Gain over lime's defaults on seed 0, with few steps; needs no held-out predictions.

        It differs by 0.03 to 0.06 from what all steps say.
        """
        own, defaults = (
            self._seed(self._task.about(each), 0, _FEW_STEPS, held_out=False).gain
            for each in (parameters, LimeParameters())
        )
        return own - defaults

    def _seed(
        self, parameters: LimeParameters, seed: int, steps: int, *, held_out: bool
    ) -> _Measured:
        key = (parameters, seed, steps, held_out)
        if key not in self._measured:
            self._measured[key] = self._explained(*key)
        return self._measured[key]

    def _explained(
        self, parameters: LimeParameters, seed: int, steps: int, held_out: bool
    ) -> _Measured:
        task = self._task
        explanation = task.explain(parameters, seed)
        label = explained_label(explanation)
        local = [(int(s), float(w)) for s, w in explanation.local_exp[label]]
        segments = explanation.segments
        r2 = math.nan
        if held_out:
            r2 = surrogate_r2(
                segments, dict(local), float(explanation.intercept[label]), parameters.hide_color,
                label, task.image, task.source, task.cache,
            )  # fmt: skip
        gain = self._gain(superpixel_map(segments, dict(local)), label, steps)
        return _Measured(r2, gain, np.isin(segments, selected_superpixels(local, task.mask_rule)))

    def _gain(self, ranking: NDArray[np.float64], label: int, steps: int) -> float:
        order = np.argsort(-ranking.ravel(), kind="stable").astype(np.int32)
        key = (array_digest(order), label, steps)
        if key not in self._gains:
            self._gains[key] = insertion_minus_deletion(
                lambda images: self._probabilities(images, label),
                self._task.image, ranking, label, steps,
            )  # fmt: skip
        return self._gains[key]

    def _probabilities(self, images: NDArray[np.uint8], label: int) -> NDArray[np.float64]:
        """(N, H, W, 3) → (N, C), of which only the label's column is known; the others are 0."""
        task = self._task
        digests = [array_digest(image) for image in images]
        new = {d: n for n, d in enumerate(digests) if (d, label) not in self._answers}
        task.cache.counts.needed += len(images)
        task.cache.counts.new += len(new)
        if new:
            answers = np.asarray(task.source.predict_proba(images[list(new.values())]))
            for digest, answer in zip(new, answers[:, label], strict=True):
                self._answers[digest, label] = float(answer)
        probabilities = np.zeros((len(images), label + 1))
        probabilities[:, label] = [self._answers[digest, label] for digest in digests]
        return probabilities
