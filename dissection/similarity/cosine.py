"""Cosine between a unit's activations and a concept's image-text similarities, over the images.

The two baselines of CLIP-Dissect (Oikarinen & Weng 2023) next to WPMI: ``cos_similarity`` compares
the two vectors as they are, ``cos_similarity_cubed`` after centring and cubing, which lets the
strongest images decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dissection.similarity.interface import Block, Similarity
from dissection.similarity.tables import Probing, concept_blocks
from explainers.errors import InvalidInput

__all__ = ["CosSimilarity", "CosSimilarityCubed"]

_UNITS = 256  # that are converted at a time


@dataclass(frozen=True)
class CosSimilarity(Similarity):
    """cos(A[:, u], P[:, c]) with P the (N, C) cosines of images and texts.

    P is never made: A^T P = (A^T I) T^T, and the length of a column of P follows from the Gram
    matrix of the image features, |P_c|^2 = t_c^T (I^T I) t_c.
    """

    name: str = "cos_similarity"
    by_ranks: bool = False
    least_images: int = 2

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        lengths = torch.linalg.vector_norm(probing.activations, dim=0, dtype=torch.float32)
        summed = _transposed_product(probing.activations, probing.images) / lengths[:, None]
        gram = torch.zeros(
            (probing.images.shape[1],) * 2, dtype=torch.float64, device=probing.images.device
        )
        for start in range(0, len(probing.images), 4096):
            some = probing.images[start : start + 4096].to(torch.float64)
            gram += some.t() @ some
        for start, stop in concept_blocks(probing):
            texts = probing.concepts(start, stop)
            exact = texts.to(torch.float64)
            length = ((exact @ gram) * exact).sum(dim=1).clamp_min(0).sqrt().to(torch.float32)
            scores = (summed @ texts.t()) / length
            scores[probing.dead] = torch.nan
            yield Block(start, scores)


@dataclass(frozen=True)
class CosSimilarityCubed(Similarity):
    """Cosine of centred and cubed vectors; ``min_norm`` is the smallest length divided by.

    With few images the cubes of a concept's similarities are so small that the length is below
    ``min_norm``, and scores shrink with them; the order then favours concepts that vary most.
    """

    min_norm: float = 1e-3
    name: str = "cos_similarity_cubed"
    by_ranks: bool = False
    least_images: int = 2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_norm) and self.min_norm > 0):
            raise InvalidInput(f"min_norm={self.min_norm} must be above 0")

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        activations = probing.activations
        means = activations.mean(dim=0, dtype=torch.float32)
        units = activations.shape[1]
        for start, stop in concept_blocks(probing):
            table = probing.images @ probing.concepts(start, stop).t()
            table.sub_(table.mean(dim=0)).pow_(3)
            table.div_(torch.linalg.vector_norm(table, dim=0).clamp_min(self.min_norm))
            scores = torch.empty((units, stop - start), device=table.device)
            for first in range(0, units, _UNITS):
                some = slice(first, first + _UNITS)
                cubed = activations[:, some].to(torch.float32, copy=True)
                cubed.sub_(means[some]).pow_(3)
                cubed.div_(torch.linalg.vector_norm(cubed, dim=0).clamp_min(self.min_norm))
                torch.mm(cubed.t(), table, out=scores[some])
            scores[probing.dead] = torch.nan
            yield Block(start, scores)


def _transposed_product(activations: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """A^T I, (U, D) float32, without a copy of the activations."""
    found = torch.empty((activations.shape[1], images.shape[1]), device=images.device)
    for start in range(0, activations.shape[1], _UNITS):
        some = slice(start, start + _UNITS)
        torch.mm(activations[:, some].to(torch.float32).t(), images, out=found[some])
    return found
