"""Pictures and concepts that networks are probed with, and the tables computed from them.

A CLIP model encodes pictures and concepts, and networks give the activations of their units for the
pictures. The tables may also be read from files.
"""

from __future__ import annotations

from dissection.probing.activations import activation_maps, unit_activations
from dissection.probing.clip import (
    DEFAULT_CLIP,
    DEFAULT_CLIP_WEIGHTS,
    ClipModel,
    image_features,
    text_features,
)
from dissection.probing.concepts import ConceptList, concept_list
from dissection.probing.contact_sheets import contact_sheets
from dissection.probing.feature_cache import NO_CACHE, FeatureCache
from dissection.probing.images import ProbingImage, ProbingSet, probing_images
from dissection.probing.layers import check_layers, default_layers, has_feature_maps
from dissection.probing.reference_files import read_saved, write_saved
from dissection.probing.saved_features import SavedFeatures, read_features, write_features

__all__ = [
    "DEFAULT_CLIP", "DEFAULT_CLIP_WEIGHTS", "NO_CACHE", "ClipModel", "ConceptList", "FeatureCache",
    "ProbingImage", "ProbingSet", "SavedFeatures", "activation_maps", "check_layers",
    "concept_list", "contact_sheets", "default_layers", "has_feature_maps", "image_features",
    "probing_images", "read_features", "read_saved", "text_features", "unit_activations",
    "write_features", "write_saved",
]  # fmt: skip
