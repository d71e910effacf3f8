"""Pointwise mutual information between a unit's most activating images and a concept.

Oikarinen & Weng, "CLIP-Dissect: Automatic Description of Neuron Representations in Deep Vision
Networks" (2023), section 3. With q(c|i) the softmax over concepts of a × cosine(image, text), the
evidence for concept c in the top images i_1 .. i_k of unit u is

    wpmi:       L(u, c) = sum_r log(q(c|i_r) + m)
    soft_wpmi:  L(u, c) = sum_r log(1 + p_r (q(c|i_r) - 1) + m)

and the score is L(u, c) - lam × log p(c), where p(c) is the mean of exp L(u, c) over the units of
the layer. That mean depends on which units are scored together, so it is computed once per layer
and handed on when some of its units are scored again.

Both sums are evaluated relative to a constant that does not depend on unit or concept (every q
zero, every q equal): what is summed is then small, and single precision is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from dissection.similarity.probing import Block, Probing, concept_blocks
from dissection.similarity.top_images import top_images
from explainers.errors import InvalidInput

__all__ = ["SoftWpmi", "Wpmi"]

_Evidence = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]
"""(answers (N, B), top images (k, U), scores (U, B)): fills the last; may overwrite the first."""

_IMAGES = 4096  # of the softmax's normaliser at a time
_CACHED = 2**16  # numbers of a product that stay in the processor's cache
_LARGEST_LOG = 80.0  # of a product in single precision, just below overflow


@dataclass(frozen=True)
class SoftWpmi:
    """Soft WPMI: a top image shows what the unit detects only with a probability.

    Attributes:
        top_k: images compared.
        a: inverse temperature of the softmax.
        lam: weight of the marginal.
        min_prob: m in the formula.
        p_start, p_end: probability for the most activating image, and where it would fall to
            after ``top_k`` images: p_r = p_start - (p_start - p_end) r / top_k.
    """

    top_k: int = 100
    a: float = 10.0
    lam: float = 1.0
    min_prob: float = 1e-7
    p_start: float = 0.998
    p_end: float = 0.97
    name: str = "soft_wpmi"
    by_ranks: bool = True

    def __post_init__(self) -> None:
        _check(self.top_k, self.a, self.min_prob)
        if not 0 <= self.p_end <= self.p_start <= 1:
            raise InvalidInput(
                f"soft_wpmi probabilities from {self.p_start} to {self.p_end}: both must be in "
                "[0, 1], the first not below the second"
            )

    @property
    def least_images(self) -> int:
        """As many as are compared."""
        return self.top_k

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        """See :class:`SimilarityMethod`."""
        ranks = [
            self.p_start - (self.p_start - self.p_end) * rank / self.top_k
            for rank in range(self.top_k)
        ]
        # 1 + p (q - 1) + m = (1 - p + m) (1 + q p / (1 - p + m))
        rest = [1 - p + self.min_prob for p in ranks]
        weights = [p / r for p, r in zip(ranks, rest, strict=True)]
        constant = math.fsum(math.log(r) for r in rest)
        together = max(1, int(_LARGEST_LOG / math.log1p(max(weights))))

        def evidence(answers: torch.Tensor, top: torch.Tensor, found: torch.Tensor) -> None:
            _sum_of_logs(answers, top, weights, together, found)

        return _pmi_blocks(probing, self.top_k, self.a, self.lam, constant, evidence, marginal)


@dataclass(frozen=True)
class Wpmi:
    """WPMI: every top image shows what the unit detects; see :class:`SoftWpmi`."""

    top_k: int = 28
    a: float = 2.0
    lam: float = 0.6
    min_prob: float = 1e-7
    name: str = "wpmi"
    by_ranks: bool = True

    def __post_init__(self) -> None:
        _check(self.top_k, self.a, self.min_prob)

    @property
    def least_images(self) -> int:
        """As many as are compared."""
        return self.top_k

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        """See :class:`SimilarityMethod`."""
        concepts = len(probing.texts)
        constant = -self.top_k * math.log(concepts)

        def evidence(answers: torch.Tensor, top: torch.Tensor, found: torch.Tensor) -> None:
            answers.add_(self.min_prob).mul_(concepts).log_()
            for start in range(0, top.shape[1], _units_at_once(answers)):
                some = slice(start, start + _units_at_once(answers))
                found[some] = torch.nn.functional.embedding_bag(
                    top[:, some].t(), answers, mode="sum"
                )

        return _pmi_blocks(probing, self.top_k, self.a, self.lam, constant, evidence, marginal)


def _check(top_k: int, a: float, min_prob: float) -> None:
    if top_k < 1 or not (math.isfinite(a) and a > 0) or not 0 < min_prob < 1:
        raise InvalidInput(
            f"top_k={top_k}, a={a}, min_prob={min_prob}: top_k must be at least 1, a above 0 and "
            "min_prob between 0 and 1"
        )


def _pmi_blocks(
    probing: Probing,
    top_k: int,
    a: float,
    lam: float,
    constant: float,
    evidence: _Evidence,
    marginal: torch.Tensor | None,
) -> Iterator[Block]:
    """L - lam × marginal, block by block; ``evidence`` leaves out ``constant``."""
    if marginal is not None and marginal.shape != (len(probing.texts),):
        raise InvalidInput(
            f"the layer's marginal has shape {tuple(marginal.shape)}, there are "
            f"{len(probing.texts)} concepts: use the marginal of the same concepts"
        )
    top = top_images(probing.activations, top_k)
    images, top = _only_used(probing.images, top)
    normalisers = _log_normalisers(images, probing, a)
    living = ~probing.dead
    units = top.shape[1]
    scores = answers = torch.empty(0)
    for start, stop in concept_blocks(probing):
        if scores.shape != (units, stop - start):
            scores = torch.empty((units, stop - start), device=images.device)
            answers = torch.empty((len(images), stop - start), device=images.device)
        torch.mm(images, probing.concepts(start, stop).t(), out=answers)
        answers.mul_(a).sub_(normalisers[:, None]).exp_()
        evidence(answers, top, scores)
        if marginal is not None:
            common = marginal[start:stop].to(images.device, torch.float64)
        else:
            common = _log_mean(scores, living) + constant
        scores.add_((constant - lam * common).to(torch.float32))
        scores[probing.dead] = torch.nan
        yield Block(start, scores, common)


def _only_used(images: torch.Tensor, top: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave out images that are in no unit's top, where that saves half of them."""
    used, places = torch.unique(top, return_inverse=True)
    if len(used) * 2 > len(images):
        return images, top
    return images[used], places


def _log_normalisers(images: torch.Tensor, probing: Probing, a: float) -> torch.Tensor:
    """(N,) float32: log of the sum over all concepts of exp(a cosine)."""
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


def _units_at_once(answers: torch.Tensor) -> int:
    """On a processor what a step works on should stay in the cache; a GPU takes all."""
    if answers.is_cuda:
        return 2**13
    return max(16, _CACHED // answers.shape[1])


def _sum_of_logs(
    answers: torch.Tensor,
    top: torch.Tensor,
    weights: list[float],
    together: int,
    found: torch.Tensor,
) -> None:
    """found[u, c] = sum_r log(1 + weights[r] × answers[top[r, u], c]).

    A logarithm costs more than the rest, so that ``together`` factors are multiplied before one is
    taken.
    """
    size = _units_at_once(answers)
    for start in range(0, top.shape[1], size):
        places, target = top[:, start : start + size], found[start : start + size]
        target.zero_()
        gathered, product = torch.empty_like(target), torch.ones_like(target)
        for rank, weight in enumerate(weights):
            torch.index_select(answers, 0, places[rank], out=gathered)
            product.addcmul_(product, gathered, value=weight)
            if (rank + 1) % together == 0 or rank + 1 == len(weights):
                target.add_(product.log_())
                product.fill_(1.0)


def _log_mean(scores: torch.Tensor, living: torch.Tensor) -> torch.Tensor:
    """(B,) float64: log of the mean of exp over living units; 0 where there is none."""
    count = int(living.sum())
    if count == 0:
        return torch.zeros(scores.shape[1], dtype=torch.float64, device=scores.device)
    chosen = scores if count == len(living) else scores[living]
    return torch.logsumexp(chosen, dim=0).to(torch.float64) - math.log(count)
