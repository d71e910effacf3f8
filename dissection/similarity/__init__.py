"""How much a unit looks like a concept: five similarities over the same three tables.

Each is a function of image features (N, D), text features (C, D) and activations (N, U) that gives
a :class:`UnitSimilarity`; none holds a table of all images and concepts, or of all units, images
and concepts. Their settings default to those of the reference implementation of CLIP-Dissect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from dissection.similarity.cosine import CosSimilarity, CosSimilarityCubed
from dissection.similarity.pmi import SoftWpmi, Wpmi
from dissection.similarity.probing import (
    Block,
    Probing,
    SimilarityMethod,
    Told,
    UnitSimilarity,
)
from dissection.similarity.rank_reorder import RankReorder
from dissection.similarity.top_images import top_images
from explainers.errors import InvalidInput

__all__ = [
    "SIMILARITIES", "Block", "Probing", "SimilarityMethod", "Told", "UnitSimilarity",
    "cos_similarity", "cos_similarity_cubed", "rank_reorder", "score_units", "similarity_method",
    "soft_wpmi", "top_concepts", "top_images", "wpmi",
]  # fmt: skip

_METHODS: Sequence[Callable[..., SimilarityMethod]] = (
    SoftWpmi, Wpmi, RankReorder, CosSimilarity, CosSimilarityCubed,
)  # fmt: skip
SIMILARITIES: Mapping[str, Callable[..., SimilarityMethod]] = {
    method().name: method for method in _METHODS
}
"""By name; the first is the paper's choice."""


def similarity_method(name: str, **settings: Any) -> SimilarityMethod:
    """A similarity by name.

    Raises:
        InvalidInput: there is none of that name, or a setting has an impossible value.
    """
    if name not in SIMILARITIES:
        raise InvalidInput(f"similarity {name!r} is unknown: use one of {', '.join(SIMILARITIES)}")
    return SIMILARITIES[name](**settings)


def soft_wpmi(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    activations: torch.Tensor,
    *,
    marginal: torch.Tensor | None = None,
    told: Told = lambda share: None,
    **settings: Any,
) -> UnitSimilarity:
    """Soft WPMI; see :class:`dissection.similarity.pmi.SoftWpmi` for formula and settings.

    Args:
        image_features: (N, D).
        text_features: (C, D).
        activations: (N, U) of a whole layer, or of some of its units with ``marginal``.
        marginal: of a result for the whole layer.

    Raises:
        InvalidInput: tables that do not belong together or are not finite; too few images.
    """
    probing = Probing.of(image_features, text_features, activations)
    return score_units(SoftWpmi(**settings), probing, marginal=marginal, told=told)


def wpmi(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    activations: torch.Tensor,
    *,
    marginal: torch.Tensor | None = None,
    told: Told = lambda share: None,
    **settings: Any,
) -> UnitSimilarity:
    """WPMI; see :class:`dissection.similarity.pmi.Wpmi`, and :func:`soft_wpmi` for the rest."""
    probing = Probing.of(image_features, text_features, activations)
    return score_units(Wpmi(**settings), probing, marginal=marginal, told=told)


def rank_reorder(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    activations: torch.Tensor,
    *,
    told: Told = lambda share: None,
    **settings: Any,
) -> UnitSimilarity:
    """Rank reorder; see :class:`dissection.similarity.rank_reorder.RankReorder`."""
    probing = Probing.of(image_features, text_features, activations)
    return score_units(RankReorder(**settings), probing, told=told)


def cos_similarity(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    activations: torch.Tensor,
    *,
    told: Told = lambda share: None,
) -> UnitSimilarity:
    """Cosine; see :class:`dissection.similarity.cosine.CosSimilarity`."""
    probing = Probing.of(image_features, text_features, activations)
    return score_units(CosSimilarity(), probing, told=told)


def cos_similarity_cubed(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    activations: torch.Tensor,
    *,
    told: Told = lambda share: None,
    **settings: Any,
) -> UnitSimilarity:
    """Cosine of cubes; see :class:`dissection.similarity.cosine.CosSimilarityCubed`."""
    probing = Probing.of(image_features, text_features, activations)
    return score_units(CosSimilarityCubed(**settings), probing, told=told)


@torch.inference_mode()
def score_units(
    method: SimilarityMethod,
    probing: Probing,
    *,
    marginal: torch.Tensor | None = None,
    told: Told = lambda share: None,
) -> UnitSimilarity:
    """Every unit's similarity to every concept.

    Raises:
        InvalidInput: too few images for the similarity.
    """
    units, concepts = probing.activations.shape[1], len(probing.texts)
    device = probing.images.device
    similarity = torch.empty((units, concepts), device=device)
    common: torch.Tensor | None = None
    for block in method.blocks(probing, marginal=marginal):
        stop = block.start + block.scores.shape[1]
        similarity[:, block.start : stop] = block.scores
        if block.marginal is not None:
            if common is None:
                common = torch.empty(concepts, dtype=torch.float64, device=device)
            common[block.start : stop] = block.marginal
        told(stop / concepts)
    return UnitSimilarity(similarity, similarity[:, 0].isnan(), common)


@torch.inference_mode()
def top_concepts(
    method: SimilarityMethod,
    probing: Probing,
    count: int,
    *,
    marginal: torch.Tensor | None = None,
    told: Told = lambda share: None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The best concepts of every unit, without a table of all of them.

    Args:
        count: how many; at most as many as there are concepts are given.

    Returns:
        As :meth:`UnitSimilarity.top`, and the layer's marginal.

    Raises:
        InvalidInput: too few images for the similarity.
    """
    units, concepts = probing.activations.shape[1], len(probing.texts)
    device = probing.images.device
    scores = torch.empty((units, 0), device=device)
    numbers = torch.empty((units, 0), dtype=torch.int64, device=device)
    marginals: list[torch.Tensor] = []
    for block in method.blocks(probing, marginal=marginal):
        stop = block.start + block.scores.shape[1]
        found = block.scores.nan_to_num(nan=-torch.inf)
        best, places = _best(found, count)
        # Earlier concepts come first, so that a stable order keeps them before equal later ones.
        both = torch.cat((numbers, places + block.start), dim=1)
        scores, order = _best(torch.cat((scores, best), dim=1), count)
        numbers = both.gather(1, order)
        if block.marginal is not None:
            marginals.append(block.marginal)
        told(stop / concepts)
    dead = scores[:, 0] == -torch.inf
    scores[dead], numbers[dead] = torch.nan, -1
    return scores, numbers, torch.cat(marginals) if marginals else None


def _best(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest of each row and their places, highest first, equal ones in order of place.

    Overwrites ``scores``.
    """
    count = min(count, scores.shape[1])
    best = torch.empty((len(scores), count), device=scores.device)
    places = torch.empty((len(scores), count), dtype=torch.int64, device=scores.device)
    for rank in range(count):
        highest, place = scores.max(dim=1, keepdim=True)  # the first of equal ones
        best[:, rank : rank + 1], places[:, rank : rank + 1] = highest, place
        scores.scatter_(1, place, -torch.inf)
    return best, places
