"""Upper bound of the IoU that a superpixel map can reach, without any prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput


@dataclass(frozen=True)
class UpperBound:
    """The best union of superpixels and its IoU with the reference."""

    iou: float
    superpixels: tuple[int, ...]


def overlap_counts(
    segments: NDArray[np.integer], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each superpixel inside and outside the reference.

    Args:
        segments: (H, W) labels from 0; numbers may be missing.
        reference: (H, W) bool.

    Returns:
        Two (n_superpixels,) int64 arrays: inside, outside.
    """
    if segments.shape != reference.shape:
        raise InvalidInput(
            f"superpixels of shape {segments.shape} and a reference of shape {reference.shape} "
            "are not of one image"
        )
    labels = segments.ravel()
    total = np.bincount(labels)
    inside = np.bincount(labels, weights=reference.ravel(), minlength=len(total)).astype(np.int64)
    return inside, total - inside


def reachable_iou(
    inside: NDArray[np.int64], outside: NDArray[np.int64], at_most: int
) -> UpperBound:
    """Maximise IoU over unions of at most ``at_most`` superpixels, exactly.

    The IoU of a union S with the reference R is Σ_S inside / (|R| + Σ_S outside): a ratio of two
    sums, maximised by Dinkelbach's iteration (Dinkelbach 1967, "On nonlinear fractional
    programming"): for the current value λ the best S consists of the ``at_most`` largest positive
    inside − λ·outside; λ rises until it stands still, in a handful of rounds.

    Args:
        inside, outside: (n_superpixels,) pixels in and out of the reference, covering the image.

    Raises:
        InvalidInput: the reference has no pixel.
    """
    reference = int(inside.sum())
    if reference == 0:
        raise InvalidInput("the reference is empty: no union of superpixels can agree with it")
    value = 0.0
    chosen: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    while True:
        gain = inside - value * outside
        order = np.argsort(-gain, kind="stable")[:at_most]
        candidate = order[gain[order] > 0]
        reached = float(inside[candidate].sum() / (reference + outside[candidate].sum()))
        if reached <= value:
            return UpperBound(value, tuple(int(s) for s in chosen))
        value, chosen = reached, candidate
