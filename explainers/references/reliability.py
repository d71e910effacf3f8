"""How reliable a reference mask is, estimated without knowing the object.

Some errors of a mask made from a classifier's maps can be detected: the maps of several sizes of
the photograph lie in different places; the classifier no longer recognises the class when only the
mask is shown, or still recognises it when the mask is hidden. Showing and hiding what an
attribution marks are the deletion games of Petsiuk et al. (2018) and of Dabkowski and Gal (2017).
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from explainers.cam import ActivationMaps, multiscale_maps
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.images import AtScale
from explainers.lime import top_label

DOUBTFUL = 0.4
"""Scores below this are doubtful: the commands warn."""

# Standard deviations of blurs, as shares of the picture's side: of what is hidden, of the edge.
_BLUR, _EDGE = 0.09, 0.009


@dataclass(frozen=True)
class Reliability:
    """Four indicators, each in [0, 1]; higher is better.

    Attributes:
        agreement: mean correlation of the Grad-CAM maps of several sizes (of a picture and its
            mirror image where the model takes one size only).
        kept: the class's probability when all but the mask is blurred, relative to the picture's.
        lost: the probability that is lost when the mask is blurred, relative to the picture's.
        standing: the class's probability relative to that of the model's first class.
    """

    agreement: float
    kept: float
    lost: float
    standing: float

    @property
    def score(self) -> float:
        """Geometric mean of agreement, kept and lost, times that of the standing, in [0, 1]."""
        return float((self.agreement * self.kept * self.lost * self.standing) ** (1 / 3))

    @property
    def doubt(self) -> str:
        """The weakest indicator in words; empty when the score is at least :data:`DOUBTFUL`."""
        if self.score >= DOUBTFUL:
            return ""
        reasons = {
            f"maps of different sizes disagree (correlation {self.agreement:.2f})": self.agreement,
            f"the mask alone keeps {self.kept:.0%} of the class's probability": self.kept,
            f"hiding the mask takes only {self.lost:.0%} of it": self.lost,
            f"the class has {self.standing:.0%} of the first class's probability": self.standing,
        }
        return min(reasons, key=lambda reason: reasons[reason])

    def to_json(self) -> dict[str, float]:
        """Plain values, with the score."""
        found = {**asdict(self), "score": self.score}
        return {name: round(float(value), 4) for name, value in found.items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Reliability:
        """The inverse of :meth:`to_json`, to four digits."""
        return cls(*(float(document[n]) for n in ("agreement", "kept", "lost", "standing")))


def estimate_reliability(
    classifier: Classifier,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    at_scale: AtScale,
    class_index: int | None = None,
) -> Reliability:
    """Estimate how reliable a reference mask is.

    Args:
        image: (H, W, 3) uint8, in the classifier's geometry.
        mask: (H, W) bool.
        at_scale: the same crop of the photograph at other sizes.
        class_index: the class the mask is meant for; the likeliest when ``None``.
    """
    kept_picture, hidden_picture = _shown_and_hidden(image, mask)
    answers = classifier.predict_proba(np.stack([image, kept_picture, hidden_picture]))
    index = top_label(answers[0]) if class_index is None else class_index
    whole, kept, hidden = (max(float(p), 1e-12) for p in answers[:, index])
    return Reliability(
        agreement=_agreement(_views(classifier, image, at_scale, index)),
        kept=min(kept / whole, 1.0),
        lost=1.0 - min(hidden / whole, 1.0),
        standing=min(whole / float(answers[0].max()), 1.0),
    )


def _shown_and_hidden(
    image: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    side = min(mask.shape)
    blurred = cv2.GaussianBlur(image, (0, 0), _BLUR * side).astype(np.float32)
    inside = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _EDGE * side)[..., None]
    shown = image * inside + blurred * (1 - inside)
    hidden = image * (1 - inside) + blurred * inside
    return shown.clip(0, 255).astype(np.uint8), hidden.clip(0, 255).astype(np.uint8)


def _views(
    classifier: Classifier, image: NDArray[np.uint8], at_scale: AtScale, index: int
) -> NDArray[np.float32]:
    with ActivationMaps(classifier, "gradcam") as maps:
        try:
            return multiscale_maps(maps, at_scale, index)
        except InvalidInput:  # one size only
            both = maps.enlarged(np.stack([image, image[:, ::-1]]), index)
            return np.stack([both[0], both[1][:, ::-1]])


def _agreement(views: NDArray[np.float32]) -> float:
    found = []
    for a, b in itertools.combinations(views, 2):
        flat = a.std() == 0 or b.std() == 0
        found.append(0.0 if flat else float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
    return max(0.0, float(np.mean(found)))
