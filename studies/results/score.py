"""The score of a parameter set: agreement with the reference, minus a price for time."""

from __future__ import annotations

__all__ = ["score"]


def score(iou: float, runtime_ratio: float, runtime_weight: float) -> float:
    """Mean IoU − weight × (seconds / seconds of lime's defaults).

    Args:
        iou: mean over explainer seeds, in [0, 1].
        runtime_ratio: to lime's defaults on the same image, ≥ 0.
        runtime_weight: the IoU that the whole runtime of the defaults is worth.
    """
    return iou - runtime_weight * runtime_ratio
