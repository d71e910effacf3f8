"""The score of a parameter set: agreement with the reference, minus a price for time."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["cannot_win", "score"]

# With few seeds the sample deviation is itself luck; no explanation was seen to vary less.
_LEAST_DEVIATION = 0.01
_CONFIDENCE = 1.5  # standard errors; about one in ten good trials is lost to it


def score(iou: float, runtime_ratio: float, runtime_weight: float) -> float:
    """Mean IoU − weight × (seconds / seconds of lime's defaults).

    Args:
        iou: mean over explainer seeds, in [0, 1].
        runtime_ratio: to lime's defaults on the same image, ≥ 0.
        runtime_weight: the IoU that the whole runtime of the defaults is worth.
    """
    return iou - runtime_weight * runtime_ratio


def cannot_win(values: Sequence[float], price: float, best: float | None) -> bool:
    """Whether a trial may be stopped: even its upper confidence bound is below the best score.

    Args:
        values: IoU of the seeds spent so far.
        price: what its runtime costs, to be taken off.
        best: best score of the study so far; ``None``: nothing to lose against.
    """
    if best is None or len(values) < 2:
        return False
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    margin = _CONFIDENCE * max(deviation, _LEAST_DEVIATION) / math.sqrt(len(values))
    return mean + margin - price < best
