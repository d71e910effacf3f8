"""What every similarity is computed from, checked once, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from explainers.errors import InvalidInput

__all__ = ["Block", "Probing", "SimilarityMethod", "Told", "UnitSimilarity", "concept_blocks"]

Told = Callable[[float], None]
"""Called with the share that is done, in [0, 1]."""

# Working memory of one block of concepts; a table of all images and concepts is never held.
_BLOCK_BYTES = 48 * 2**20
_MOST_CONCEPTS = 256  # so that what is done to a block happens in the processor's cache


@dataclass(frozen=True, eq=False)
class Block:
    """Scores of all units for the concepts ``start`` to ``start + B``.

    Attributes:
        scores: (U, B) float32; a buffer that the next block overwrites.
        marginal: (B,) float64, of similarities that have one: log p(concept's evidence) over the
            layer's living units.
    """

    start: int
    scores: torch.Tensor
    marginal: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Probing:
    """Probing images as seen by a vision-language model and by the units of a layer.

    Made by :meth:`of`.

    Attributes:
        images: (N, D) float32, rows of length 1.
        texts: (C, D), as given; see :meth:`concepts`.
        activations: (N, U), as given.
        dead: (U,) bool: units that answer the same to every image. They have nothing to be
            labelled by.
    """

    images: torch.Tensor
    texts: torch.Tensor
    activations: torch.Tensor
    dead: torch.Tensor

    @classmethod
    def of(
        cls,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        activations: torch.Tensor,
    ) -> Probing:
        """Check and normalise.

        Args:
            image_features: (N, D) of any floating type, on the device that shall compute.
            text_features: (C, D) from the same vision-language model.
            activations: (N, U), pooled, in the order of the images.

        Raises:
            InvalidInput: shapes that do not belong together, nothing in them, values that are not
                finite, or a feature without direction.
        """
        named = {
            "image features": image_features,
            "text features": text_features,
            "activations": activations,
        }
        for name, tensor in named.items():
            if tensor.ndim != 2 or not tensor.is_floating_point() or 0 in tensor.shape:
                raise InvalidInput(
                    f"{name} have shape {tuple(tensor.shape)} and type {tensor.dtype}: a table of "
                    "floating-point numbers with at least one row and column is needed"
                )
        if image_features.shape[1] != text_features.shape[1]:
            raise InvalidInput(
                f"image features have {image_features.shape[1]} dimensions, text features "
                f"{text_features.shape[1]}: both must come from the same vision-language model"
            )
        if len(image_features) != len(activations):
            raise InvalidInput(
                f"{len(image_features)} images have features, {len(activations)} have "
                "activations: both must be of the same images in the same order"
            )
        lengths = torch.linalg.vector_norm(image_features, dim=1, dtype=torch.float32)
        text_lengths = torch.linalg.vector_norm(text_features, dim=1, dtype=torch.float32)
        lowest, highest = activations.aminmax(dim=0)
        for name, summary in {
            "image features": lengths,
            "text features": text_lengths,
            "activations": torch.stack((lowest, highest)),
        }.items():
            if not bool(torch.isfinite(summary).all()):
                raise InvalidInput(
                    f"{name} hold values that are not finite (NaN or infinite): compute them anew"
                )
        for name, summary in {"image": lengths, "text": text_lengths}.items():
            if not bool((summary > 0).all()):
                empty = int((summary == 0).nonzero()[0, 0])
                raise InvalidInput(
                    f"{name} feature {empty} is zero everywhere: it has no direction; compute it "
                    "anew or leave it out"
                )
        return cls(
            image_features.to(torch.float32) / lengths[:, None],
            text_features,
            activations,
            lowest == highest,
        )

    def concepts(self, start: int, stop: int) -> torch.Tensor:
        """(B, D) float32: text features of some concepts, rows of length 1."""
        block = self.texts[start:stop].to(torch.float32)
        unit: torch.Tensor = block / torch.linalg.vector_norm(block, dim=1, keepdim=True)
        return unit

    def chosen_images(self, indices: torch.Tensor) -> Probing:
        """The same layer seen through some of the images, in that order; they may repeat.

        Args:
            indices: (M,) int64.
        """
        activations = self.activations[indices]
        lowest, highest = activations.aminmax(dim=0)
        return replace(
            self, images=self.images[indices], activations=activations, dead=lowest == highest
        )

    def chosen_units(self, indices: torch.Tensor) -> Probing:
        """Some units of the layer.

        Args:
            indices: (M,) int64.
        """
        return replace(self, activations=self.activations[:, indices], dead=self.dead[indices])

    def with_units(self, activations: torch.Tensor) -> Probing:
        """The same images and concepts with other units, (N, M)."""
        lowest, highest = activations.aminmax(dim=0)
        return replace(self, activations=activations, dead=lowest == highest)


@dataclass(frozen=True, eq=False)
class UnitSimilarity:
    """How much each unit looks like each concept; higher is better.

    Scores of different concept lists, probing images or similarities cannot be compared.

    Attributes:
        similarity: (U, C) float32; rows of dead units are NaN.
        dead: (U,) bool: the unit answers the same to all images that are compared, so that there
            is nothing to label it by.
        marginal: (C,) float64 for similarities that have one: hand it to the same function to
            score other units of the layer with the same numbers.
    """

    similarity: torch.Tensor
    dead: torch.Tensor
    marginal: torch.Tensor | None = None

    def top(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and numbers of the best concepts, (U, count) float32 and int64, best first.

        Equal scores are in the order of the concepts. Dead units have NaN and -1.
        """
        filled = self.similarity.nan_to_num(nan=-torch.inf)
        scores, concepts = torch.sort(filled, dim=1, descending=True, stable=True)
        scores, concepts = scores[:, :count].clone(), concepts[:, :count].clone()
        scores[self.dead], concepts[self.dead] = torch.nan, -1
        return scores, concepts


class SimilarityMethod(Protocol):
    """A similarity with its settings.

    Attributes:
        name: as the command line and tables call it.
        by_ranks: only the order of a unit's activations counts, not their values.
        least_images: probing images that it needs.
    """

    @property
    def name(self) -> str: ...

    @property
    def by_ranks(self) -> bool: ...

    @property
    def least_images(self) -> int: ...

    def blocks(self, probing: Probing, *, marginal: torch.Tensor | None = None) -> Iterator[Block]:
        """Scores of every unit, block of concepts by block.

        Args:
            marginal: (C,) float64 of the layer that the units belong to, where it was computed
                before; ignored by similarities without one.

        Raises:
            InvalidInput: too few images for it.
        """
        ...


def concept_blocks(probing: Probing) -> Iterator[tuple[int, int]]:
    """(start, stop) of blocks of concepts whose table with all images fits the working memory."""
    images, concepts = len(probing.images), len(probing.texts)
    fitting = _BLOCK_BYTES // (4 * images) // 16 * 16
    size = max(16, min(_MOST_CONCEPTS, fitting))
    for start in range(0, concepts, size):
        yield start, min(start + size, concepts)
