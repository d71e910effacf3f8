"""The score of a parameter set: IoU with the reference, minus a penalty for runtime."""

from __future__ import annotations

__all__ = ["score"]


def score(iou: float, runtime_ratio: float, runtime_weight: float) -> float:
    """Return mean IoU − weight × (seconds / seconds of lime's defaults).

    Args:
        iou: mean over explainer seeds, in [0, 1].
        runtime_ratio: relative to lime's defaults on the same image, ≥ 0.
        runtime_weight: the IoU that the runtime of lime's defaults costs.
    """
    return iou - runtime_weight * runtime_ratio
