"""How labels change with the number of probing images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import torch

from dissection.similarity import Probing, SimilarityMethod, top_concepts
from explainers.errors import InvalidInput

__all__ = ["SIZES", "agreement_by_size"]

SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@torch.inference_mode()
def agreement_by_size(
    method: SimilarityMethod,
    probing: Probing,
    labels: torch.Tensor,
    *,
    sizes: Iterable[int] = SIZES,
    seed: int = 0,
) -> tuple[tuple[int, float], ...]:
    """Share of the layer's labels that fewer images, drawn by chance, give already.

    A similarity of the ``top_k`` most activating images compares at most half of a small set.

    Args:
        labels: (U,) int64 of all images; -1 for dead units, which do not count.

    Returns:
        (images, share in [0, 1]) for every size below the number of images that the similarity can
        be computed from.
    """
    living = labels >= 0
    images = len(probing.images)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    found = []
    for size in sorted(sizes):
        if size >= images or not bool(living.any()):
            break
        sample = probing.chosen_images(order[:size].to(probing.images.device))
        try:
            numbers = top_concepts(_for_size(method, size), sample, 1)[1][:, 0]
        except InvalidInput:
            continue
        found.append((size, float((numbers == labels)[living].double().mean())))
    return tuple(found)


def _for_size(method: Any, images: int) -> SimilarityMethod:
    if "top_k" not in {field.name for field in fields(method)}:
        adapted: SimilarityMethod = method
    else:
        adapted = replace(method, top_k=max(1, min(method.top_k, images // 2)))
    return adapted
