"""Pointwise mutual information between a unit's most activating images and a concept.

Oikarinen & Weng, "CLIP-Dissect: Automatic Description of Neuron Representations in Deep Vision
Networks" (2023), section 3. With q(c|i) the softmax over concepts of a × cosine(image, text), the
evidence for concept c in the top images i_1 .. i_k of unit u is

    wpmi:       L(u, c) = sum_r log(q(c|i_r) + m)
    soft_wpmi:  L(u, c) = sum_r log(1 + p_r (q(c|i_r) - 1) + m)

and the score is L(u, c) - lam × log p(c), where p(c) is the mean of exp L(u, c) over the units of
the layer. That mean depends on which units are scored together, so it is computed once per layer
and passed on when some of its units are scored again.

Both sums are evaluated relative to a constant that does not depend on unit or concept (soft_wpmi:
the sum if every q were zero; wpmi: if every q were equal). The rest is small, so single precision
is enough.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from dissection.similarity.interface import Block, Similarity
from dissection.similarity.tables import Probing, concept_blocks, top_images
from explainers.errors import InvalidInput

__all__ = ["SoftWpmi", "Wpmi"]

_IMAGES = 4096  # whose normalisers of the softmax are computed at a time
_CACHED = 2**16  # numbers that stay in a CPU's cache
_LARGEST_LOG = 80.0  # logarithm of the largest product, just below overflow in single precision


@dataclass(frozen=True)
class _PointwiseMutualInformation(Similarity):
    """The score L - lam × marginal, with L from the subclass.

    Attributes:
        top_k: number of images that are compared.
        a: inverse temperature of the softmax.
        lam: weight of the marginal.
        min_prob: m in the formula.
    """

    top_k: int = 100
    a: float = 10.0
    lam: float = 1.0
    min_prob: float = 1e-7

    def __post_init__(self) -> None:
        if (
            self.top_k < 1
            or not (math.isfinite(self.a) and self.a > 0)
            or not 0 < self.min_prob < 1
        ):
            raise InvalidInput(
                f"top_k={self.top_k}, a={self.a}, min_prob={self.min_prob}: top_k must be at "
                "least 1, a above 0 and min_prob between 0 and 1"
            )

    @property
    def least_images(self) -> int:
        """Number of images that are compared."""
        return self.top_k

    def for_images(self, count: int) -> Similarity:
        """Compare at most half of the images."""
        return replace(self, top_k=max(1, min(self.top_k, count // 2)))

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        if marginal is not None and marginal.shape != (len(probing.texts),):
            raise InvalidInput(
                f"the layer's marginal has shape {tuple(marginal.shape)}, there are "
                f"{len(probing.texts)} concepts: use the marginal of the same concepts"
            )
        images, top = _only_used(probing.images, top_images(probing.activations, self.top_k))
        normalisers = _log_normalisers(images, probing, self.a)
        constant = self._constant(len(probing.texts))
        living = ~probing.dead
        units = top.shape[1]
        scores = probabilities = torch.empty(0)
        for start, stop in concept_blocks(probing):
            if scores.shape != (units, stop - start):
                scores = torch.empty((units, stop - start), device=images.device)
                probabilities = torch.empty((len(images), stop - start), device=images.device)
            torch.mm(images, probing.concepts(start, stop).t(), out=probabilities)
            probabilities.mul_(self.a).sub_(normalisers[:, None]).exp_()
            self._evidence(probabilities, top, len(probing.texts), scores)
            if marginal is not None:
                common = marginal[start:stop].to(images.device, torch.float64)
            else:
                common = _log_mean(scores, living) + constant
            scores.add_((constant - self.lam * common).to(torch.float32))
            scores[probing.dead] = torch.nan
            yield Block(start, scores, common)

    @abstractmethod
    def _constant(self, concepts: int) -> float:
        """The part of L that :meth:`_evidence` leaves out, equal for all units and concepts."""

    @abstractmethod
    def _evidence(
        self, probabilities: torch.Tensor, top: torch.Tensor, concepts: int, found: torch.Tensor
    ) -> None:
        """Write L without the constant into ``found``.

        Args:
            probabilities: (N, B) q(c|i) of a block of concepts; may be overwritten.
            top: (k, U) numbers of the top images, rows of ``probabilities``.
            concepts: number of concepts in all blocks.
            found: (U, B) float32.
        """


@dataclass(frozen=True)
class SoftWpmi(_PointwiseMutualInformation):
    """Soft WPMI: a top image shows what the unit detects only with a probability.

    Attributes:
        p_start, p_end: probability for the most activating image, and the one it falls to after
            ``top_k`` images: p_r = p_start - (p_start - p_end) r / top_k.
    """

    p_start: float = 0.998
    p_end: float = 0.97
    name: str = "soft_wpmi"
    by_ranks: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.p_end <= self.p_start <= 1:
            raise InvalidInput(
                f"soft_wpmi probabilities from {self.p_start} to {self.p_end}: both must be in "
                "[0, 1], the first not below the second"
            )

    def _ranks(self) -> list[tuple[float, float]]:
        """(p_r, 1 - p_r + m) by rank; 1 + p (q - 1) + m = (1 - p + m) (1 + q p / (1 - p + m))."""
        fall = self.p_start - self.p_end
        ranks = [self.p_start - fall * rank / self.top_k for rank in range(self.top_k)]
        return [(p, 1 - p + self.min_prob) for p in ranks]

    def _constant(self, concepts: int) -> float:
        return math.fsum(math.log(rest) for _, rest in self._ranks())

    def _evidence(
        self, probabilities: torch.Tensor, top: torch.Tensor, concepts: int, found: torch.Tensor
    ) -> None:
        """Several factors are multiplied before the logarithm, which is the slowest step."""
        weights = [p / rest for p, rest in self._ranks()]
        together = max(1, int(_LARGEST_LOG / math.log1p(max(weights))))
        size = _units_at_once(probabilities)
        for start in range(0, top.shape[1], size):
            places, target = top[:, start : start + size], found[start : start + size]
            target.zero_()
            gathered, product = torch.empty_like(target), torch.ones_like(target)
            for rank, weight in enumerate(weights):
                torch.index_select(probabilities, 0, places[rank], out=gathered)
                product.addcmul_(product, gathered, value=weight)
                if (rank + 1) % together == 0 or rank + 1 == len(weights):
                    target.add_(product.log_())
                    product.fill_(1.0)


@dataclass(frozen=True)
class Wpmi(_PointwiseMutualInformation):
    """WPMI: every top image shows what the unit detects."""

    top_k: int = 28
    a: float = 2.0
    lam: float = 0.6
    name: str = "wpmi"
    by_ranks: bool = True

    def _constant(self, concepts: int) -> float:
        return -self.top_k * math.log(concepts)

    def _evidence(
        self, probabilities: torch.Tensor, top: torch.Tensor, concepts: int, found: torch.Tensor
    ) -> None:
        probabilities.add_(self.min_prob).mul_(concepts).log_()
        size = _units_at_once(probabilities)
        for start in range(0, top.shape[1], size):
            found[start : start + size] = torch.nn.functional.embedding_bag(
                top[:, start : start + size].t(), probabilities, mode="sum"
            )


def _only_used(images: torch.Tensor, top: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave out images that are in no unit's top, if these are at least half of all."""
    used, places = torch.unique(top, return_inverse=True)
    if len(used) * 2 > len(images):
        return images, top
    return images[used], places


def _log_normalisers(images: torch.Tensor, probing: Probing, a: float) -> torch.Tensor:
    """(N,) float32: log of the sum over all concepts of exp(a × cosine)."""
    highest = torch.full((len(images),), -torch.inf, device=images.device)
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for start, stop in concept_blocks(probing):
        texts = probing.concepts(start, stop).t()
        for first in range(0, len(images), _IMAGES):
            some = slice(first, first + _IMAGES)
            table = torch.mm(images[some], texts).mul_(a)
            before, new = highest[some], table.amax(dim=1)
            torch.maximum(before, new, out=new)
            total[some] *= (before - new).to(torch.float64).exp()
            total[some] += table.sub_(new[:, None]).exp_().sum(dim=1, dtype=torch.float64)
            highest[some] = new
    return (highest + total.log()).to(torch.float32)


def _units_at_once(probabilities: torch.Tensor) -> int:
    """Number of units a step works on: few on a CPU, so that its numbers stay in the cache."""
    if probabilities.is_cuda:
        return 2**13
    return max(16, _CACHED // probabilities.shape[1])


def _log_mean(scores: torch.Tensor, living: torch.Tensor) -> torch.Tensor:
    """(B,) float64: log of the mean of exp over living units; 0 where there is none."""
    count = int(living.sum())
    if count == 0:
        return torch.zeros(scores.shape[1], dtype=torch.float64, device=scores.device)
    chosen = scores if count == len(living) else scores[living]
    return torch.logsumexp(chosen, dim=0).to(torch.float64) - math.log(count)
