"""``tune --constrain fidelity``: no tuned setting may explain less than lime's defaults do.

Agreement with a mask can be bought with superpixels so coarse that the explanation says little.
Two measures must not fall below those of the defaults on the same image: the surrogate's R² on
held-out perturbations, and insertion minus deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.fidelity import deletion_curve, insertion_curve, superpixel_map
from explainers.lime import explained_label
from explainers.lime_parameters import LimeParameters
from explainers.measures import surrogate_r2
from tuner.problem import TuningTask

__all__ = ["Fidelity", "default_fidelity", "fidelity_of"]


@dataclass(frozen=True)
class Fidelity:
    """Means over explainer seeds; higher is better.

    Attributes:
        r2: of the surrogate, held out.
        gain: insertion area minus deletion area.
    """

    r2: float
    gain: float

    def shortfalls(self, usual: Fidelity) -> dict[str, float]:
        """What is missing to the defaults' fidelity; feasible when none is above zero."""
        return {"r2": usual.r2 - self.r2, "gain": usual.gain - self.gain}

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return {name: round(float(value), 6) for name, value in asdict(self).items()}


def fidelity_of(task: TuningTask, parameters: LimeParameters, seeds: Sequence[int]) -> Fidelity:
    """Measure an image's explanations of some seeds, with answers of the task's bank.

    The pictures of the curves are asked about every time, 58 a seed, and counted as new answers.
    """

    def predict(images: NDArray[np.uint8]) -> NDArray[Any]:
        task.bank.counts.needed += len(images)
        task.bank.counts.new += len(images)
        return task.source.predict_proba(images)

    r2s, gains = [], []
    for seed in seeds:
        found = task.explain(parameters, seed)
        label = explained_label(found)
        weights = {int(s): float(w) for s, w in found.local_exp[label]}
        r2s.append(
            surrogate_r2(
                found.segments, weights, float(found.intercept[label]), parameters.hide_color,
                label, task.image, task.source, task.bank,
            )
        )  # fmt: skip
        ranking = superpixel_map(found.segments, weights)
        inserted = insertion_curve(predict, task.image, ranking, label).area
        gains.append(inserted - deletion_curve(predict, task.image, ranking, label).area)
    return Fidelity(float(np.mean(r2s)), float(np.mean(gains)))


@lru_cache(maxsize=1)
def default_fidelity(task: TuningTask) -> Fidelity:
    """Of lime's defaults, on the seed that their trial is scored on."""
    return fidelity_of(task, LimeParameters(), range(1))
