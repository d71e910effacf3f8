"""From networks, pictures and concepts to the tables that labels are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from dissection.activations import activation_maps, unit_activations
from dissection.concepts import ConceptList
from dissection.contact_sheet import contact_sheet
from dissection.describe import LayerDescription
from dissection.encoders import ClipModel, image_features, text_features
from dissection.feature_cache import FeatureCache
from dissection.layers import check_layers, default_layers
from dissection.probing_images import ProbingSet
from dissection.saved_features import SavedFeatures
from dissection.similarity import top_images
from explainers.classifiers import Classifier

__all__ = ["Probe", "contact_sheets", "probe_networks"]

_SHEET_VERSION = 1  # of how contact sheets are drawn

Told = Callable[[str, float], None]
"""Called with what is done and the share that is."""


@dataclass(frozen=True)
class Probe:
    """What networks are probed with.

    Attributes:
        templates: prompts with ``{}`` for the concept.
        pooling, tokens: see :func:`dissection.activations.unit_activations`.
    """

    images: ProbingSet
    concepts: ConceptList
    clip: ClipModel
    templates: tuple[str, ...] = ("{}",)
    pooling: str = "mean"
    tokens: str = "cls"


def probe_networks(
    networks: Mapping[str, Classifier],
    probe: Probe,
    layers: Sequence[str],
    *,
    cache: FeatureCache | None = None,
    told: Told = lambda what, share: None,
) -> SavedFeatures:
    """Ask networks and the CLIP model about the pictures, and the CLIP model about the concepts.

    Args:
        networks: by the name that labels are recorded under.
        layers: module paths; none: each network's last three stages.

    Raises:
        InvalidInput: a layer that a network does not have, and what
            :func:`dissection.activations.unit_activations` and the CLIP model refuse.
        InvalidImage: a file that is no picture.
        MissingAsset: the CLIP model cannot be loaded.
    """
    for classifier in networks.values():  # before any work
        check_layers(classifier, layers)
    chosen = {name: tuple(layers) or default_layers(c) for name, c in networks.items()}
    pictures = probe.images.images
    # First, so that a CLIP model that is not there is told before the networks are asked.
    texts = text_features(
        probe.clip, probe.concepts.words, templates=probe.templates, cache=cache,
        told=_shares(told, "CLIP, concepts"),
    )  # fmt: skip
    images = image_features(probe.clip, pictures, cache=cache, told=_shares(told, "CLIP, images"))
    activations: dict[tuple[str, str], torch.Tensor] = {}
    for name, classifier in networks.items():
        answers = unit_activations(
            classifier, pictures, chosen[name], pooling=probe.pooling, tokens=probe.tokens,
            cache=cache, told=_shares(told, name),
        )  # fmt: skip
        activations |= {(name, layer): torch.from_numpy(t) for layer, t in answers.items()}
    return SavedFeatures(
        torch.from_numpy(images), torch.from_numpy(texts), probe.concepts.words, activations
    )


def contact_sheets(
    classifier: Classifier,
    probe: Probe,
    description: LayerDescription,
    activations: torch.Tensor,
    *,
    units: int,
    images: int,
    cache: FeatureCache | None = None,
    told: Told = lambda what, share: None,
) -> dict[tuple[str, int], bytes]:
    """The most activating images of a layer's most similar units, by (layer, unit).

    Args:
        activations: (N, U) of the layer.
        units: of so many units; of those whose label survives first.
        images: so many of each.
    """
    living = [unit for unit in description.units if not unit.dead]
    best = sorted(living, key=lambda u: (not u.survives, -(u.similarity or 0.0)))[:units]
    count = min(images, len(activations))
    sheets = {}
    for done, unit in enumerate(best):
        top = top_images(activations[:, [unit.number]], count)[:, 0].tolist()
        pictures = [probe.images.images[index] for index in top]
        what = (classifier.fingerprint, repr(classifier.geometry), description.layer, unit.number)
        key = repr((_SHEET_VERSION, *what, [picture.sha256 for picture in pictures]))
        sheet = None if cache is None else cache.read_document(key)
        if sheet is None:
            pixels, maps = activation_maps(
                classifier, pictures, description.layer, [unit.number] * count
            )
            sheet = contact_sheet(pixels, maps)
            if cache is not None:
                cache.write_document(key, sheet)
        sheets[description.layer, unit.number] = sheet
        told(f"{description.layer}, activating images", (done + 1) / len(best))
    return sheets


def _shares(told: Told, what: str) -> Callable[[int, int], None]:
    return lambda done, total: told(what, done / max(1, total))
