"""Stability of labels under other, or fewer, probing images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.progress import Progress
from dissection.similarity import Probing, Similarity

__all__ = ["agreement_by_size", "bootstrap_labels"]

_SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@torch.inference_mode()
def bootstrap_labels(
    method: Similarity,
    probing: Probing,
    *,
    rounds: int,
    seed: int,
    on_progress: Progress = lambda share: None,
) -> NDArray[np.int64]:
    """Labels from probing images drawn with replacement.

    Returns:
        (rounds, U) numbers of concepts; -1 where the unit is dead on those images.
    """
    generator = torch.Generator().manual_seed(seed)
    images = len(probing.images)
    labels = np.empty((rounds, probing.activations.shape[1]), dtype=np.int64)
    for number in range(rounds):
        sample = probing.chosen_images(torch.randint(images, (images,), generator=generator))
        labels[number] = method.top_concepts(sample, 1)[1][:, 0].cpu().numpy()
        on_progress((number + 1) / rounds)
    return labels


@torch.inference_mode()
def agreement_by_size(
    method: Similarity, probing: Probing, labels: torch.Tensor, *, seed: int
) -> tuple[tuple[int, float], ...]:
    """Share of the layer's labels that are the same with fewer, randomly drawn images.

    A similarity of the ``top_k`` most activating images compares at most half of a small set.

    Args:
        labels: (U,) int64 from all images; -1 for dead units, which do not count.

    Returns:
        (images, share in [0, 1]) for every size below the number of images that the similarity can
        be computed from.
    """
    living = labels >= 0
    images = len(probing.images)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    found = []
    for size in _SIZES:
        sized = method.for_images(size)
        if size < images and sized.least_images <= size and bool(living.any()):
            sample = probing.chosen_images(order[:size])
            numbers = sized.top_concepts(sample, 1)[1][:, 0]
            found.append((size, float((numbers == labels)[living].double().mean())))
    return tuple(found)
