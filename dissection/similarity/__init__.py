"""Five similarities of units and concepts, computed from the same three tables.

The tables are image features (N, D), text features (C, D) and activations (N, U). To save memory no
similarity holds a table of all images and concepts, or of all units, images and concepts. Settings
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
"""Similarities by name; the first is the paper's choice."""


def similarity_method(name: str, **settings: Any) -> Similarity:
    """Make a similarity by name.

    Raises:
        InvalidInput: the name is unknown, or a setting has an impossible value.
    """
    if name not in SIMILARITIES:
        raise InvalidInput(f"similarity {name!r} is unknown: use one of {', '.join(SIMILARITIES)}")
    return SIMILARITIES[name](**settings)
