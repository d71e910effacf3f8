"""Compares the settings that studies of two objectives have chosen for the same image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from explainers.lime import LimeParameters, explanation_mask
from explainers.masks import intersection_over_union
from explainers.metrics import Faithfulness
from tuner.problem import TuningTask

__all__ = ["Alike", "alike", "mean_alike"]


@dataclass(frozen=True)
class Alike:
    """Two settings compared on one image; all values are means over explainer seeds.

    Attributes:
        masks: IoU of the two masks of each seed.
        ious: IoU of each setting's masks with the reference.
        faithful: faithfulness of each setting's explanations.
    """

    masks: float
    ious: tuple[float, float]
    faithful: tuple[Faithfulness, Faithfulness]

    def to_json(self) -> dict[str, Any]:
        return {
            "masks": self.masks,
            "iou": list(self.ious),
            "faithful": [{**asdict(each), "value": each.value} for each in self.faithful],
        }


def alike(
    task: TuningTask, first: LimeParameters, second: LimeParameters, seeds: Sequence[int]
) -> Alike:
    """Explain an image with both settings and compare the explanations."""
    agreements = []
    for seed in seeds:
        masks = [
            explanation_mask(task.explain(parameters, seed), task.mask_rule)
            for parameters in (first, second)
        ]
        agreements.append(intersection_over_union(*masks))
    one, other = (float(np.mean(task.ious(each, seeds))) for each in (first, second))
    return Alike(
        float(np.mean(agreements)),
        (one, other),
        (task.meter.measure(first, seeds), task.meter.measure(second, seeds)),
    )


def mean_alike(found: Mapping[str, Alike]) -> dict[str, float]:
    """Means over images."""
    compared = list(found.values())
    means = {"masks": float(np.mean([each.masks for each in compared]))}
    names = ("the study", "the other")
    for n, name in enumerate(names):
        means[f"iou of {name}"] = float(np.mean([each.ious[n] for each in compared]))
    for n, name in enumerate(names):
        faithful = [each.faithful[n].value for each in compared]
        means[f"faithfulness of {name}"] = float(np.mean(faithful))
    return means
