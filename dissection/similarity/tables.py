"""The three checked tables that every similarity is computed from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from explainers.errors import InvalidInput

__all__ = ["Probing", "concept_blocks", "top_images"]

# Memory for the table of all images and one block of concepts.
_BLOCK_BYTES = 48 * 2**20
_MOST_CONCEPTS = 256  # in a block, so that its numbers stay in the CPU's cache
_UNITS = 256  # that are transposed at a time


@dataclass(frozen=True, eq=False)
class Probing:
    """Features of images and concepts, and activations of a layer's units; made by :meth:`of`.

    Attributes:
        images: (N, D) float32, rows of length 1.
        texts: (C, D) of any floating type, not normalised; see :meth:`concepts`.
        activations: (N, U) of any floating type.
    """

    images: torch.Tensor
    texts: torch.Tensor
    activations: torch.Tensor

    @classmethod
    def of(
        cls, image_features: torch.Tensor, text_features: torch.Tensor, activations: torch.Tensor
    ) -> Probing:
        """Check the tables and normalise the image features.

        Args:
            image_features: (N, D) of any floating type, on the device to compute on.
            text_features: (C, D) from the same vision-language model.
            activations: (N, U), pooled, in the order of the images.

        Raises:
            InvalidInput: a table is empty, shapes do not fit, or a value is not finite, or a
                feature is zero everywhere.
        """
        tables = {"image": image_features, "text": text_features, "activations": activations}
        titles = {name: name if name == "activations" else f"{name} features" for name in tables}
        for name, table in tables.items():
            if table.ndim != 2 or not table.is_floating_point() or 0 in table.shape:
                raise InvalidInput(
                    f"{titles[name]} have shape {tuple(table.shape)} and type {table.dtype}: a "
                    "table of floating-point numbers with at least one row and column is needed"
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
        lengths = {
            name: torch.linalg.vector_norm(tables[name], dim=1, dtype=torch.float32)
            for name in ("image", "text")
        }
        extremes = torch.stack(activations.aminmax(dim=0))
        for name, summary in (lengths | {"activations": extremes}).items():
            if not bool(torch.isfinite(summary).all()):
                raise InvalidInput(
                    f"{titles[name]} hold values that are not finite (NaN or infinite): compute "
                    "them anew"
                )
        for name, summary in lengths.items():
            if not bool((summary > 0).all()):
                empty = int((summary == 0).nonzero()[0, 0])
                raise InvalidInput(
                    f"{name} feature {empty} is zero everywhere: it has no direction; compute it "
                    "anew or leave it out"
                )
        images = image_features.to(torch.float32) / lengths["image"][:, None]
        return cls(images, text_features, activations)

    @cached_property
    def dead(self) -> torch.Tensor:
        """(U,) bool: units with the same activation for every image, which cannot be labelled."""
        lowest, highest = self.activations.aminmax(dim=0)
        return lowest == highest

    def concepts(self, start: int, stop: int) -> torch.Tensor:
        """(B, D) float32: text features of concepts ``start`` to ``stop``, rows of length 1."""
        block = self.texts[start:stop].to(torch.float32)
        unit: torch.Tensor = block / torch.linalg.vector_norm(block, dim=1, keepdim=True)
        return unit

    def chosen_images(self, indices: torch.Tensor) -> Probing:
        """The tables with some of the images, in that order; images may repeat.

        Args:
            indices: (M,) int64, on any device.
        """
        indices = indices.to(self.images.device)
        return replace(self, images=self.images[indices], activations=self.activations[indices])

    def with_units(self, activations: torch.Tensor) -> Probing:
        """The tables with other units, (N, M) activations."""
        return replace(self, activations=activations)


def concept_blocks(probing: Probing) -> Iterator[tuple[int, int]]:
    """(start, stop) of blocks of concepts whose table with all images fits the working memory."""
    images, concepts = len(probing.images), len(probing.texts)
    fitting = _BLOCK_BYTES // (4 * images) // 16 * 16
    size = max(16, min(_MOST_CONCEPTS, fitting))
    for start in range(0, concepts, size):
        yield start, min(start + size, concepts)


def top_images(activations: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers of the most activating images of each unit, strongest first.

    Images with equal activations are put in a random order, which depends on the unit's activations
    only. With a fixed order all units that are rarely active would share the first images of the
    folder, and so a concept.

    Args:
        activations: (N, U).
        count: number of images a unit.

    Returns:
        (count, U) int64, on the device of the activations.

    Raises:
        InvalidInput: there are fewer images than that.
    """
    images, units = activations.shape
    if images < count:
        raise InvalidInput(
            f"{images} probing images are fewer than the {count} most activating ones that are "
            "compared: give more images, or a similarity with a smaller top_k"
        )
    found = torch.empty((count, units), dtype=torch.int64, device=activations.device)
    for start in range(0, units, _UNITS):
        rows = activations[:, start : start + _UNITS].to(torch.float32).t().contiguous()
        values, indices = rows.topk(min(count + 1, images), dim=1)
        tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
        for row in tied.nonzero()[:, 0].tolist():
            indices[row, :count] = _ties_by_chance(rows[row], count).to(indices.device)
        found[:, start : start + _UNITS] = indices[:, :count].t()
    return found


def _ties_by_chance(row: torch.Tensor, count: int) -> torch.Tensor:
    values = row.cpu().numpy()
    chance = np.random.default_rng(zlib.crc32(values.tobytes())).permutation(len(values))
    return torch.from_numpy(np.lexsort((chance, -values))[:count])
