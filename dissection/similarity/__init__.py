"""How much a unit looks like a concept: five similarities over the same three tables.

Each is computed from image features (N, D), text features (C, D) and activations (N, U); none
holds a table of all images and concepts, or of all units, images and concepts. Their settings
default to those of the reference implementation of CLIP-Dissect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dissection.similarity.cosine import CosSimilarity, CosSimilarityCubed
from dissection.similarity.interface import Block, Similarity, UnitSimilarity
from dissection.similarity.pmi import SoftWpmi, Wpmi
from dissection.similarity.rank_reorder import RankReorder
from dissection.similarity.tables import Probing, top_images
from explainers.errors import InvalidInput

__all__ = [
    "SIMILARITIES", "Block", "Probing", "Similarity", "UnitSimilarity",
    "similarity_method", "top_images",
]  # fmt: skip

SIMILARITIES: Mapping[str, type[Similarity]] = {
    each.name: each for each in (SoftWpmi, Wpmi, RankReorder, CosSimilarity, CosSimilarityCubed)
}
"""By name; the first is the paper's choice."""


def similarity_method(name: str, **settings: Any) -> Similarity:
    """A similarity by name.

    Raises:
        InvalidInput: there is none of that name, or a setting has an impossible value.
    """
    if name not in SIMILARITIES:
        raise InvalidInput(f"similarity {name!r} is unknown: use one of {', '.join(SIMILARITIES)}")
    return SIMILARITIES[name](**settings)
