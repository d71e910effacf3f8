"""The interface of similarities, which score each unit of a layer for each concept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dissection.progress import Progress
from dissection.similarity.tables import Probing

__all__ = ["Block", "Similarity", "UnitSimilarity"]


@dataclass(frozen=True, eq=False)
class Block:
    """Scores of all units for the concepts ``start`` to ``start + B``.

    Attributes:
        scores: (U, B) float32, NaN for dead units; a buffer that the next block overwrites.
        marginal: (B,) float64 for similarities that have one: log p(c), see
            :mod:`dissection.similarity.pmi`.
    """

    start: int
    scores: torch.Tensor
    marginal: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class UnitSimilarity:
    """Similarity of each unit to each concept; higher is better.

    Scores of different concept lists, probing images or similarities cannot be compared.

    Attributes:
        similarity: (U, C) float32; rows of dead units are NaN.
        dead: (U,) bool: the unit has the same activation for all images that are compared, so it
            cannot be labelled.
        marginal: (C,) float64 for similarities that have one; pass it on to score other units of
            the layer consistently.
    """

    similarity: torch.Tensor
    dead: torch.Tensor
    marginal: torch.Tensor | None = None


class Similarity(ABC):
    """A similarity with its settings; subclasses are frozen dataclasses.

    To add one: a subclass with :meth:`blocks`, listed in ``dissection.similarity.SIMILARITIES``,
    and its plain formula in ``tests/dissection/plain_similarities.py``; the contract test runs
    over all of them.

    Attributes:
        name: on the command line and in tables.
        by_ranks: whether only the order of a unit's activations counts, not their values.
    """

    name: str
    by_ranks: bool

    @property
    @abstractmethod
    def least_images(self) -> int:
        """Smallest number of probing images that it needs."""

    @abstractmethod
    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        """Scores of every unit, one block of concepts after the other.

        Args:
            marginal: (C,) float64 of the units' layer, if it was computed before; similarities
                without one ignore it.

        Raises:
            InvalidInput: there are too few images.
        """

    def for_images(self, count: int) -> Similarity:
        """The similarity with settings that suit a sample of ``count`` probing images."""
        return self

    @torch.inference_mode()
    def score(
        self,
        probing: Probing,
        *,
        marginal: torch.Tensor | None = None,
    ) -> UnitSimilarity:
        """Every unit's similarity to every concept.

        Raises:
            InvalidInput: there are too few images.
        """
        units, concepts = probing.activations.shape[1], len(probing.texts)
        similarity = torch.empty((units, concepts), device=probing.images.device)
        marginals: list[torch.Tensor] = []
        for block in self.blocks(probing, marginal=marginal):
            stop = block.start + block.scores.shape[1]
            similarity[:, block.start : stop] = block.scores
            marginals += [] if block.marginal is None else [block.marginal]
        return UnitSimilarity(
            similarity, similarity[:, 0].isnan(), torch.cat(marginals) if marginals else None
        )

    @torch.inference_mode()
    def top_concepts(
        self,
        probing: Probing,
        count: int,
        *,
        marginal: torch.Tensor | None = None,
        on_progress: Progress = lambda share: None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The best concepts of every unit, without a table of all units and concepts.

        Args:
            count: number of concepts; if there are fewer, all are returned.

        Returns:
            Scores (U, count) float32 and numbers of concepts (U, count) int64, best first, equal
            scores in the order of the concepts, NaN and -1 for dead units; the layer's marginal.

        Raises:
            InvalidInput: there are too few images.
        """
        units, device = probing.activations.shape[1], probing.images.device
        scores = torch.empty((units, 0), device=device)
        numbers = torch.empty((units, 0), dtype=torch.int64, device=device)
        marginals: list[torch.Tensor] = []
        for block in self.blocks(probing, marginal=marginal):
            best, places = _best(block.scores.nan_to_num(nan=-torch.inf), count)
            # Earlier concepts come first, so that they stay before equal later ones.
            both = torch.cat((numbers, places + block.start), dim=1)
            scores, order = _best(torch.cat((scores, best), dim=1), count)
            numbers = both.gather(1, order)
            marginals += [] if block.marginal is None else [block.marginal]
            on_progress((block.start + block.scores.shape[1]) / len(probing.texts))
        dead = scores[:, 0] == -torch.inf
        scores[dead], numbers[dead] = torch.nan, -1
        return scores, numbers, torch.cat(marginals) if marginals else None


def _best(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest values of each row and their places, highest first, equal ones by place.

    ``torch.topk`` promises no order of equal values. Overwrites ``scores``.
    """
    count = min(count, scores.shape[1])
    best = torch.empty((len(scores), count), device=scores.device)
    places = torch.empty((len(scores), count), dtype=torch.int64, device=scores.device)
    for rank in range(count):
        highest, place = scores.max(dim=1, keepdim=True)  # the first of equal ones
        best[:, rank : rank + 1], places[:, rank : rank + 1] = highest, place
        scores.scatter_(1, place, -torch.inf)
    return best, places
