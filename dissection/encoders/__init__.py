"""Vision-language models, and the concepts whose names they encode."""

from __future__ import annotations

from dissection.encoders.clip import (
    DEFAULT_CLIP,
    DEFAULT_CLIP_WEIGHTS,
    ClipModel,
    image_features,
    text_features,
)
from dissection.encoders.concepts import ConceptList, concept_list, read_concepts

__all__ = [
    "DEFAULT_CLIP", "DEFAULT_CLIP_WEIGHTS", "ClipModel", "ConceptList", "concept_list",
    "image_features", "read_concepts", "text_features",
]  # fmt: skip
