"""Labels of units: values, counts and comparisons, files and records.

No module here imports torch.
"""

from __future__ import annotations

from dissection.labels.categories import CATEGORIES, OTHER, category
from dissection.labels.counting import (
    ALL,
    SURVIVING,
    LayerConcepts,
    Overlap,
    best_rule,
    category_shares,
    concept_counts,
    counted_units,
    dissection_document,
    layer_concepts,
    overlap,
)
from dissection.labels.descriptions import read_arguments, read_descriptions, write_descriptions
from dissection.labels.records import (
    Dissection,
    RecordedEvidence,
    add_dissection,
    latest_dissections,
)
from dissection.labels.units import ClassTruth, LayerDescription, Unit

__all__ = [
    "ALL", "CATEGORIES", "OTHER", "SURVIVING", "ClassTruth", "Dissection", "LayerConcepts",
    "LayerDescription", "Overlap", "RecordedEvidence", "Unit", "add_dissection", "best_rule",
    "category", "category_shares", "concept_counts", "counted_units", "dissection_document",
    "latest_dissections", "layer_concepts", "overlap", "read_arguments", "read_descriptions",
    "write_descriptions",
]  # fmt: skip
