"""Rank reorder (Oikarinen & Weng 2023): does a concept order a unit's top images as the unit does?

The activations of the top images are reordered by the concept's similarities, and the distance to
the original order is compared with that of random orders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dissection.similarity.interface import Block, Similarity
from dissection.similarity.tables import Probing, concept_blocks, top_images
from explainers.errors import InvalidInput

__all__ = ["RankReorder"]

# Smallest mean similarity of the top images that is used, for concepts they do not look like.
_LEAST_SIMILARITY = 1e-4
_SORTED = 32  # concepts whose images are sorted at a time


@dataclass(frozen=True)
class RankReorder(Similarity):
    """-(mean |a - reordered a|^p / baseline) / (mean similarity of the top images)^scale_p.

    Attributes:
        p: power of the distance, a whole number.
        top_fraction: share of the probing images that is compared, in (0, 1].
        scale_p: power of the mean similarity.
        shuffles: number of random orders whose mean is the baseline; the reference takes 5. 0: the
            baseline is the exact mean over all orders.
        seed: of the random orders.
    """

    p: int = 3
    top_fraction: float = 0.05
    scale_p: float = 0.5
    shuffles: int = 0
    seed: int = 0
    name: str = "rank_reorder"
    by_ranks: bool = False

    def __post_init__(self) -> None:
        if self.p < 1 or not 0 < self.top_fraction <= 1 or self.shuffles < 0:
            raise InvalidInput(
                f"rank_reorder p={self.p}, top_fraction={self.top_fraction}, "
                f"shuffles={self.shuffles}: p must be at least 1, top_fraction in (0, 1] and "
                "shuffles not below 0"
            )

    @property
    def least_images(self) -> int:
        """Number of images of which two are compared."""
        return math.ceil(2 / self.top_fraction)

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        images, units = probing.activations.shape
        count = int(images * self.top_fraction)
        if count < 2:
            raise InvalidInput(
                f"rank_reorder compares {self.top_fraction:.0%} of the probing images, {count} of "
                f"{images}: give more images or a larger top_fraction"
            )
        top = top_images(probing.activations, count)
        strongest = probing.activations.gather(0, top).to(torch.float32).t().contiguous()
        baseline = self._baseline(strongest)
        # The order of a unit with equal activations for its top images means nothing.
        level = probing.dead | (baseline <= 0)
        # The mean similarity of the top images is that of their mean feature.
        mean_features = torch.stack([probing.images[top[:, unit]].mean(0) for unit in range(units)])
        ascending = strongest.flip(1)
        for start, stop in concept_blocks(probing):
            texts = probing.concepts(start, stop)
            ranks = _ranks(texts, probing.images, count)
            scores = torch.empty((units, stop - start), device=texts.device)
            for unit in range(units):
                # The image in place j of the concept's order is given the j-th lowest activation.
                order = _order(ranks, top[:, unit])
                moved = strongest[unit][order].sub_(ascending[unit]).abs_().pow_(self.p)
                scores[unit] = moved.mean(dim=1)
            likeness = (mean_features @ texts.t()).clamp_min_(_LEAST_SIMILARITY)
            scores.div_(likeness.pow_(self.scale_p)).div_(-baseline.to(torch.float32)[:, None])
            scores[level] = torch.nan
            yield Block(start, scores)

    def _baseline(self, strongest: torch.Tensor) -> torch.Tensor:
        """(U,) float64: mean |a_i - a_j|^p for random j."""
        if self.shuffles == 0:
            return torch.stack([_mean_distance(row, self.p) for row in strongest])
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros(len(strongest), dtype=torch.float64, device=strongest.device)
        for _ in range(self.shuffles):
            # One order for all units, so that no score depends on which others are computed.
            order = torch.randperm(strongest.shape[1], generator=generator)
            moved = strongest - strongest[:, order.to(strongest.device)]
            total += moved.abs_().pow_(self.p).mean(dim=1, dtype=torch.float64)
        return total / self.shuffles


def _ranks(texts: torch.Tensor, images: torch.Tensor, chosen: int) -> torch.Tensor:
    """Place of every image in each concept's order, lowest similarity first.

    Args:
        texts: (B, D).
        images: (N, D).
        chosen: number of images that :func:`_order` will sort.

    Returns:
        (N, B) integers of a type with enough free bits for a place among the chosen images.
    """
    bits = len(images).bit_length() + chosen.bit_length()
    dtype = torch.int32 if bits < 32 else torch.int64
    ranks = torch.empty((len(images), len(texts)), dtype=dtype, device=texts.device)
    places = torch.arange(len(images), device=texts.device)
    for start in range(0, len(texts), _SORTED):
        order = (texts[start : start + _SORTED] @ images.t()).argsort(dim=1, stable=True)
        place = torch.empty_like(order).scatter_(1, order, places.expand_as(order))
        ranks[:, start : start + _SORTED] = place.t()
    return ranks


def _order(ranks: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The order of some of the images by every concept.

    Integers with the rank in their upper bits and the place among the chosen in their lower ones
    are sorted. By NumPy's vectorised sort on a CPU this is several times faster than an argsort of
    similarities.

    Args:
        ranks: (N, B), from :func:`_ranks`.
        chosen: (n,) numbers of images.

    Returns:
        (B, n) int64 places in ``chosen``, lowest similarity first.
    """
    bits = len(chosen).bit_length()
    keys = ranks.index_select(0, chosen).bitwise_left_shift_(bits)
    keys.bitwise_or_(torch.arange(len(chosen), device=keys.device, dtype=keys.dtype)[:, None])
    keys = keys.t().contiguous()
    if keys.is_cuda:
        keys = keys.sort(dim=1).values
    else:
        keys.numpy().sort(axis=1)
    return keys.bitwise_and_((1 << bits) - 1).long()


def _mean_distance(values: torch.Tensor, p: int) -> torch.Tensor:
    """Mean of |a_i - a_j|^p over all pairs, including i = j, in O(n log n).

    With values in ascending order |a_j - a_i|^p = sum_m binomial(p, m) a_j^(p-m) (-a_i)^m for
    i < j, and the sums over i are running ones.
    """
    ascending = values.to(torch.float64).sort().values
    ascending = ascending - ascending.mean()  # reduces cancellation
    total = torch.zeros((), dtype=torch.float64, device=values.device)
    for m in range(p + 1):
        powers = (-ascending) ** m
        below = powers.cumsum(0) - powers
        total = total + math.comb(p, m) * (ascending ** (p - m) * below).sum()
    return (2 * total / len(values) ** 2).clamp_min(0)
