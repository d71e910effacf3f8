"""The incumbent that a trial has to beat, and how the two are compared image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna

from studies.results.attributes import PENALTY
from studies.results.best_trial import best_trial
from studies.results.score import score

__all__ = ["Incumbent", "incumbent_of", "paired"]


@dataclass(frozen=True)
class Incumbent:
    """The best trial so far.

    Attributes:
        score: its score.
        scores: its score on each explainer seed.
        per_image: in a catalogue's study, its score on each image, by key.
    """

    score: float
    scores: tuple[float, ...] = ()
    per_image: Mapping[str, float] = field(default_factory=dict)


def paired(values: Mapping[str, Sequence[float]], best: Mapping[str, float]) -> list[float] | None:
    """Values adjusted for image difficulty: the incumbent's mean plus each image's difference.

    Images differ far more than settings do, so settings are compared image by image.

    Args:
        values: by image, one value for each explainer seed.
        best: the incumbent's value by image.

    Returns:
        ``None`` where the incumbent was not scored on one of the images.
    """
    if not best or any(key not in best for key in values):
        return None
    mean = sum(best.values()) / len(best)
    return [mean + v - best[key] for key, some in values.items() for v in some]


def incumbent_of(study: optuna.Study, weight: float) -> Incumbent | None:
    """The best complete trial of a study of one objective; ``None`` before there is one.

    Args:
        weight: the study's runtime weight.
    """
    best = best_trial(study)
    if best is None or best.value is None:
        return None
    stored = best.user_attrs
    ratio = float(stored.get("runtime_ratio", 0.0))
    per_image = stored.get("iou_per_image", {})
    penalty = float(stored.get(PENALTY, 0.0))
    return Incumbent(
        best.value,
        tuple(score(iou, ratio, weight) - penalty for iou in stored.get("iou_per_seed", ())),
        {key: score(iou, ratio, weight) for key, iou in per_image.items()},
    )
