"""Whether a reference can be trusted, from what the classifier itself says about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.masks import intersection_over_union

__all__ = ["Reliability", "mask_agreement", "reliability_of"]

_BLUR = 10.0  # pixels; Petsiuk et al. 2018 (RISE) blur as much for their insertion game


@dataclass(frozen=True)
class Reliability:
    """What speaks for a reference mask; each number in [0, 1], higher is better.

    Attributes:
        agreement: of the masks that each scale alone would have given, with each other.
        kept: the class's probability with only the mask shown, relative to the whole picture's.
        lost: the share of that probability which goes when the mask is hidden.
        probability: of the class in the whole picture.
        first: whether the class is the classifier's first.
    """

    agreement: float
    kept: float
    lost: float
    probability: float
    first: bool

    @property
    def value(self) -> float:
        """All of it in one number: the mean, halved for a class that is not the first."""
        mean = (self.agreement + self.kept + self.lost + self.probability) / 4
        return mean if self.first else mean / 2

    @property
    def reason(self) -> str:
        """The weakest point, in words."""
        if not self.first:
            return "the class is not the classifier's first"
        points = {
            "scales disagree about where the object is": self.agreement,
            "the class is not recognised from the mask alone": self.kept,
            "the class is still recognised with the mask hidden": self.lost,
            "the classifier is unsure of the class": self.probability,
        }
        return min(points, key=lambda text: points[text])


def mask_agreement(masks: NDArray[np.bool_]) -> float:
    """Mean intersection over union of all pairs of masks.

    Args:
        masks: (N, H, W) bool.

    Returns:
        In [0, 1]; 1.0 for a single mask.
    """
    pairs = [
        intersection_over_union(masks[i], masks[j])
        for i in range(len(masks))
        for j in range(i + 1, len(masks))
    ]
    return float(np.mean(pairs)) if pairs else 1.0


def reliability_of(
    classifier: Classifier,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    class_index: int,
    agreement: float,
) -> Reliability:
    """Show only the mask, hide only the mask (the rest is blurred), and ask.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        agreement: see :class:`Reliability`.
    """
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(image, sigma=(_BLUR, _BLUR, 0))
    inside = mask[..., None]
    shown = np.where(inside, image, blurred)
    hidden = np.where(inside, blurred, image)
    answers = classifier.predict_proba(np.stack([image, shown, hidden]))
    whole, alone, without = (float(row[class_index]) for row in answers)
    return Reliability(
        agreement=agreement,
        kept=min(1.0, alone / whole) if whole > 0 else 0.0,
        lost=max(0.0, 1.0 - without / whole) if whole > 0 else 0.0,
        probability=whole,
        first=int(np.argmax(answers[0])) == class_index,
    )
