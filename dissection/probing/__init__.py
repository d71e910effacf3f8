"""Networks asked about pictures: layers, activations, and tables that were saved before."""

from __future__ import annotations

from dissection.probing.activations import activation_maps, unit_activations
from dissection.probing.contact_sheets import contact_sheets
from dissection.probing.feature_cache import NO_CACHE, FeatureCache, Rows, space_of
from dissection.probing.images import ProbingImage, ProbingSet, probing_images
from dissection.probing.layers import check_layers, default_layers, has_feature_maps
from dissection.probing.reference_files import SavedNames, find_saved, read_saved, write_saved
from dissection.probing.saved_features import SavedFeatures, read_features, write_features

__all__ = [
    "NO_CACHE", "FeatureCache", "ProbingImage", "ProbingSet", "Rows", "SavedFeatures",
    "SavedNames", "activation_maps", "check_layers", "contact_sheets", "default_layers",
    "find_saved", "has_feature_maps", "probing_images", "read_features", "read_saved", "space_of",
    "unit_activations", "write_features", "write_saved",
]  # fmt: skip
