"""A black box answers for itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explainers.black_box import BlackBox

__all__ = ["FunctionEngine"]


class FunctionEngine:
    """The function, in batches; nothing is known that could be done faster."""

    name = "function"

    def __init__(self, classifier: BlackBox) -> None:
        self._classifier = classifier
        self.batch_size = 16

    @property
    def fingerprint(self) -> str:
        """The classifier's."""
        return self._classifier.fingerprint

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""
        return self._classifier.predict_proba(images)
