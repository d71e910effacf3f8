"""Values for labelled units and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ClassTruth", "LayerDescription", "Unit"]


@dataclass(frozen=True)
class Unit:
    """A unit with its best concepts.

    Attributes:
        concepts: the most similar, best first; empty for a dead unit.
        scores: similarities of these.
        p: p-value of the first; ``None`` where it was not computed.
        q: ``p`` adjusted for all units of the layer (Benjamini-Hochberg).
        stability: share of bootstrap samples that give the same first concept.
        survives: ``q`` is within the level asked for; ``None`` where there is no ``q``.
    """

    number: int
    concepts: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    p: float | None = None
    q: float | None = None
    stability: float | None = None
    survives: bool | None = None

    @property
    def dead(self) -> bool:
        """Whether its activation is the same for all images, so that it has no label."""
        return not self.concepts

    @property
    def concept(self) -> str | None:
        """The label; ``None`` for a dead unit."""
        return self.concepts[0] if self.concepts else None

    @property
    def similarity(self) -> float | None:
        """Similarity of the label; ``None`` for a dead unit."""
        return self.scores[0] if self.scores else None

    @property
    def gap(self) -> float | None:
        """Similarity of the first concept minus that of the second, if there is a second."""
        return self.scores[0] - self.scores[1] if len(self.scores) > 1 else None

    @property
    def table_row(self) -> tuple[object, ...]:
        """Number, concept, similarity, gap, p, q, stability, survives (0 or 1) and the further
        concepts, for a CSV file; ``None`` is an empty cell."""
        survives = None if self.survives is None else int(self.survives)
        return (
            self.number, self.concept, self.similarity, self.gap, self.p, self.q, self.stability,
            survives, "; ".join(self.concepts[1:]),
        )  # fmt: skip


@dataclass(frozen=True)
class ClassTruth:
    """Accuracy of labels where the truth is known: units that stand for classes.

    CLIP-Dissect (Oikarinen & Weng 2023), table 2: the label of a unit in a classifier's last layer
    should be the name of its class. Counted are living units whose class is among the concepts.

    Attributes:
        units: number of counted units.
        top1, top5: share whose class is the first concept, or among the first five.
        mean_rank: of the class among all concepts; 1 is best.
    """

    units: int
    top1: float
    top5: float
    mean_rank: float


@dataclass(frozen=True, eq=False)
class LayerDescription:
    """A layer of a network, unit by unit.

    Attributes:
        model, layer: names.
        level: rate of false discoveries that ``Unit.survives`` refers to.
        by_size: (number of probing images, share of the labels that are the same with so many).
        truth: accuracy of the labels, of a layer whose units stand for classes.
    """

    model: str
    layer: str
    units: tuple[Unit, ...]
    level: float = 0.05
    by_size: tuple[tuple[int, float], ...] = ()
    truth: ClassTruth | None = None

    @property
    def living(self) -> list[Unit]:
        """All units but the dead ones."""
        return [unit for unit in self.units if not unit.dead]

    def to_json(self) -> dict[str, Any]:
        """A JSON object for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LayerDescription:
        """The inverse of :meth:`to_json`."""
        units = tuple(
            Unit(**{**unit, **{name: tuple(unit[name]) for name in ("concepts", "scores")}})
            for unit in document["units"]
        )
        by_size = tuple((int(size), float(share)) for size, share in document["by_size"])
        truth = None if document["truth"] is None else ClassTruth(**document["truth"])
        return cls(**{**document, "units": units, "by_size": by_size, "truth": truth})
