"""Many studies of one image that are charged for their answers as if each were alone.

Comparing samplers needs hundreds of studies. Their answers come from one cache on disk, so that a
pattern is computed once; every study has an empty cache of its own in front of it, whose counts say
what the study would have had to ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.engines import Engine
from explainers.images import array_digest
from explainers.lime import Perturbation, PredictionCache

__all__ = ["ChargedBank", "SharedSource"]


class SharedSource:
    """An engine behind a cache on disk.

    Args:
        folder: of the shared cache.
    """

    batch_size = 4096  # the cache behind batches for the engine

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self.cache = PredictionCache(folder, max_bytes=20_000_000_000)
        self.name = engine.name
        self._originals: dict[str, NDArray[Any]] = {}

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._engine.fingerprint

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, C) probabilities."""
        return self._engine.predict_proba(images)

    def predict_perturbed(
        self, perturbation: Perturbation, rows: NDArray[np.integer]
    ) -> NDArray[Any]:
        """(S, n_superpixels) → (S, C), zero but for the five likeliest classes."""
        image = perturbation.image
        digest = array_digest(image)
        original = self.cache.original(self._engine, image, digest)
        classes = np.sort(np.argsort(original)[-5:])
        answers = np.zeros((len(rows), len(original)), dtype=original.dtype)
        answers[:, classes] = self.cache.predictions(
            self._engine, image, perturbation.segments, perturbation.hide_color, rows, classes,
            digest,
        )  # fmt: skip
        return answers


class ChargedBank(PredictionCache):
    """An empty cache in memory whose superpixel maps come from the shared one."""

    def __init__(self, shared: PredictionCache) -> None:
        super().__init__(None)
        self._shared = shared

    def superpixels(
        self, image: NDArray[np.uint8], algorithm: Any, image_digest: str | None = None
    ) -> NDArray[np.int64]:
        """See the parent; nothing is charged for maps."""
        return self._shared.superpixels(image, algorithm, image_digest)
