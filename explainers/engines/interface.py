"""The protocol of engines, the engine of black boxes, and the choice of batch sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explainers.classifiers import BlackBox

_BATCHES_OF_A_CORE = (1, 2, 4, 8)

_MEASURED_IMAGES = 16
_SMALL_GAIN = 0.97  # a larger batch is taken if it needs less than this share of the time


class Engine(Protocol):
    """Computes the predictions of a classifier.

    Attributes:
        name: part of the fingerprint.
        batch_size: images per call; changes the speed only.
    """

    name: str
    batch_size: int

    @property
    def fingerprint(self) -> str:
        """The classifier's fingerprint with the engine's name."""

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""


class FunctionEngine:
    """The engine of a black box: its function, unchanged."""

    name = "function"

    def __init__(self, classifier: BlackBox) -> None:
        self._classifier = classifier
        self.batch_size = 16

    @property
    def fingerprint(self) -> str:
        """The classifier's fingerprint."""
        return self._classifier.fingerprint

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 → (N, C) float32 probabilities."""
        return self._classifier.predict_proba(images)


def cpu_batches(threads: int) -> tuple[int, ...]:
    """Batch sizes to try on a CPU. Larger batches are slower: their activations leave the cache."""
    return tuple(sorted({*_BATCHES_OF_A_CORE, *(threads * each for each in _BATCHES_OF_A_CORE)}))


def fastest_batch(
    predict: Callable[[NDArray[np.uint8]], object],
    image: NDArray[np.uint8],
    candidates: Sequence[int],
) -> int:
    """The batch size with the best throughput, measured in about a second.

    Args:
        predict: (N, H, W, 3) uint8 → anything.
        image: (H, W, 3) uint8.
        candidates: batch sizes, ascending.
    """
    best, best_seconds = candidates[0], float("inf")
    for batch in candidates:
        images = np.repeat(image[None], batch, axis=0)
        predict(images)
        seconds = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(max(1, _MEASURED_IMAGES // batch)):
                predict(images)
            done = batch * max(1, _MEASURED_IMAGES // batch)
            seconds = min(seconds, (time.perf_counter() - start) / done)
        if seconds < _SMALL_GAIN * best_seconds:
            best, best_seconds = batch, seconds
    return best
