"""Classifiers made by hand: no torch, and the same answer in whatever batch a picture comes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class QuarterColours:
    """Softmax of fixed linear functions of the mean colours of a picture's quarters.

    Counts what it is asked. Pictures are answered one by one, so that batches cannot matter.
    """

    def __init__(self, classes: int, dtype: Any = np.float64) -> None:
        self._weights = np.random.default_rng(classes).normal(0, 2.5, (classes, 12))
        self._dtype = np.dtype(dtype)
        self.fingerprint = f"quarters-{classes}-{self._dtype.str}"
        self.asked: list[bytes] = []
        self.largest_batch = 0

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, classes)."""
        self.largest_batch = max(self.largest_batch, len(images))
        self.asked += [image.tobytes() for image in images]
        return np.stack([self._one(image) for image in images]).astype(self._dtype)

    def _one(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        quarters = [
            half[:, across]
            for half in (image[:rows], image[rows:])
            for across in (slice(None, columns), slice(columns, None))
        ]
        colours = np.concatenate([q.mean(axis=(0, 1), dtype=np.float64) for q in quarters]) / 255
        logits = (self._weights * colours).sum(axis=1)
        powers = np.exp(logits - logits.max())
        share: NDArray[np.float64] = powers / powers.sum()
        return share


def picture(seed: int, height: int = 28, width: int = 24, noise: int = 12) -> NDArray[np.uint8]:
    """A few coloured rectangles with noise over them."""
    generator = np.random.default_rng(seed)
    image = np.empty((height, width, 3), dtype=np.int64)
    image[:] = generator.integers(0, 256, 3)
    for _ in range(int(generator.integers(1, 6))):
        top, left = generator.integers(0, height - 4), generator.integers(0, width - 4)
        tall, wide = generator.integers(4, height), generator.integers(4, width)
        image[top : top + tall, left : left + wide] = generator.integers(0, 256, 3)
    image += generator.integers(-noise, noise + 1, image.shape)
    return image.clip(0, 255).astype(np.uint8)
