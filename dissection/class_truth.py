"""How good labels are where the truth is known: units that stand for classes.

CLIP-Dissect (Oikarinen & Weng 2023), table 2: the units of a classifier's last layer should be
called by their own class's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dissection.similarity import UnitSimilarity

__all__ = ["ClassTruth", "class_truth"]


@dataclass(frozen=True)
class ClassTruth:
    """Of the living units whose class name is among the concepts.

    Attributes:
        units: how many.
        top1, top5: share whose class is the first concept, is among the first five.
        mean_rank: of the class among all concepts; 1 is best.
    """

    units: int
    top1: float
    top5: float
    mean_rank: float


def class_truth(
    found: UnitSimilarity, concepts: Sequence[str], class_names: Sequence[str]
) -> ClassTruth | None:
    """Compare labels with class names.

    Args:
        found: of a layer with a unit for every class, in order.

    Returns:
        ``None`` where the layer has another number of units, or no class is among the concepts.
    """
    if len(class_names) != len(found.similarity):
        return None
    place = {concept.casefold(): number for number, concept in enumerate(concepts)}
    ranks = []
    for unit, name in enumerate(class_names):
        number = place.get(name.casefold())
        if number is None or bool(found.dead[unit]):
            continue
        row = found.similarity[unit]
        better = (row > row[number]).sum() + (row[:number] == row[number]).sum()
        ranks.append(1 + int(better))
    if not ranks:
        return None
    rank = torch.tensor(ranks, dtype=torch.float64)
    return ClassTruth(
        len(ranks), float((rank <= 1).double().mean()), float((rank <= 5).double().mean()),
        float(rank.mean()),
    )  # fmt: skip
