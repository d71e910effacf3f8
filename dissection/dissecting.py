"""The whole dissection: from tables or networks to labelled units, ready to be recorded."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dissection.labelling import Labelling, describe_layer
from dissection.labels import Dissection, LayerDescription, read_arguments, read_descriptions
from dissection.probing import (
    NO_CACHE,
    ClipModel,
    ConceptList,
    FeatureCache,
    ProbingSet,
    SavedFeatures,
    check_layers,
    contact_sheets,
    default_layers,
    image_features,
    text_features,
    unit_activations,
    write_saved,
)
from dissection.progress import StepProgress
from dissection.similarity import Probing
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput

__all__ = ["Probe", "dissect_networks", "dissect_tables", "imported_dissection"]

_VERSION = 1  # of the computation of labels
_SHEETS = 12  # contact sheets a layer
_PACKAGES = ("torch", "torchvision", "numpy", "open_clip_torch")


@dataclass(frozen=True)
class Probe:
    """Images, concepts and settings that networks are probed with.

    Attributes:
        templates: prompts with ``{}`` for the concept.
        pooling, tokens: see :func:`dissection.probing.unit_activations`.
    """

    images: ProbingSet
    concepts: ConceptList
    clip: ClipModel
    templates: tuple[str, ...] = ("{}",)
    pooling: str = "mean"
    tokens: str = "cls"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that are recorded with a dissection, as JSON values."""
        return {
            "clip_model": self.clip.short_name,
            "concepts_sha256": self.concepts.sha256,
            "templates": list(self.templates),
            "pooling": self.pooling,
            "tokens": self.tokens,
        }


def dissect_tables(
    tables: SavedFeatures,
    labelling: Labelling,
    *,
    class_names: Mapping[str, Sequence[str]] | None = None,
    cache: FeatureCache = NO_CACHE,
    on_progress: StepProgress = lambda step, share: None,
) -> list[Dissection]:
    """Label every layer of every network in the tables.

    Args:
        class_names: by network, for networks whose last layer has a unit for each class.

    Raises:
        InvalidInput: the tables do not belong together, or have too few images.
    """
    by_model: dict[str, list[LayerDescription]] = {}
    for (model, layer), activations in tables.activations.items():

        def report(step: str, share: float, what: str = f"{model} {layer}") -> None:
            on_progress(f"{what}, {step}", share)

        probing = Probing.of(tables.image_features, tables.text_features, activations)
        names = tuple((class_names or {}).get(model, ()))
        describe = partial(
            describe_layer, model, layer, probing, tables.concepts, labelling,
            class_names=names, on_progress=report,
        )  # fmt: skip
        key = _labels_key(probing, tables.concepts, (model, layer, labelling, names))
        document = cache.document(key, partial(_packed, describe))
        by_model.setdefault(model, []).append(LayerDescription.from_json(json.loads(document)))
    return [
        Dissection(
            at=datetime.now(timezone.utc),
            model=model,
            layers=tuple(layers),
            probe=tables.probe,
            concept_list=tables.concept_list,
            similarity=labelling.method.name,
            settings={**labelling.settings, **tables.settings},
            package_versions=_package_versions(),
            images=len(tables.image_features),
            concepts=len(tables.concepts),
        )
        for model, layers in by_model.items()
    ]


def dissect_networks(
    networks: Mapping[str, Classifier],
    probe: Probe,
    labelling: Labelling,
    *,
    layers: Sequence[str] = (),
    cache: FeatureCache = NO_CACHE,
    save: Path | None = None,
    on_progress: StepProgress = lambda step, share: None,
) -> list[Dissection]:
    """Label every chosen layer of some networks, with the pictures that activate units most.

    Args:
        networks: by name.
        layers: of every network; if empty, the last three stages of each.
        save: folder for features and activations as the reference implementation saves them.

    Raises:
        InvalidInput: there are too few pictures, a network lacks a layer, or
            :func:`dissection.probing.unit_activations` or the CLIP model refuse their input.
        InvalidImage: a file is no picture.
        MissingAsset: the CLIP model cannot be loaded.
    """
    images, least = len(probe.images.images), labelling.method.least_images
    if images < least:
        raise InvalidInput(
            f"{probe.images.name} has {images} pictures, {labelling.method.name} needs at least "
            f"{least}: give more of them, or another --similarity"
        )
    tables = _probed(networks, probe, layers, cache, on_progress)
    if save is not None:
        clip = Path(probe.clip.name).name.removesuffix(".json")
        write_saved(save, tables, clip=clip, pooling=probe.pooling)
    class_names = {name: classifier.class_names for name, classifier in networks.items()}
    found = []
    for dissection in dissect_tables(
        tables, labelling, class_names=class_names, cache=cache, on_progress=on_progress
    ):
        classifier = networks[dissection.model]
        sheets: dict[tuple[str, int], bytes] = {}
        for layer in dissection.layers:
            units = sorted(layer.living, key=lambda u: (not u.survives, -(u.similarity or 0.0)))
            sheets |= contact_sheets(
                classifier, layer.layer, probe.images.images,
                tables.activations[layer.model, layer.layer],
                [unit.number for unit in units[:_SHEETS]],
                cache=cache, on_progress=partial(on_progress, f"{layer.layer}, activating images"),
            )  # fmt: skip
        found.append(
            replace(
                dissection, probe_sha256=probe.images.sha256, sheets=sheets,
                classifier_sha256=classifier.fingerprint,
            )
        )  # fmt: skip
    return found


def imported_dissection(name: str, descriptions: Path) -> Dissection:
    """A dissection from another program's labels, with its ``args.txt`` where there is one.

    Args:
        name: of the network.

    Raises:
        InvalidInput: see :func:`dissection.labels.read_descriptions`.
    """
    layers = read_descriptions(descriptions, name)
    arguments = read_arguments(descriptions)
    return Dissection(
        at=datetime.now(timezone.utc),
        model=name,
        layers=tuple(layers),
        probe=str(arguments.get("d_probe", "")),
        concept_list=str(arguments.get("concept_set", "")),
        similarity=str(arguments.get("similarity_fn", "")),
        settings={**arguments, "read_from": descriptions.name},
        package_versions=_package_versions(),
    )


def _probed(
    networks: Mapping[str, Classifier],
    probe: Probe,
    layers: Sequence[str],
    cache: FeatureCache,
    on_progress: StepProgress,
) -> SavedFeatures:
    """Features and activations of the pictures, features of the concepts."""
    for classifier in networks.values():  # before anything is computed
        check_layers(classifier, layers)
    chosen = {name: tuple(layers) or default_layers(c) for name, c in networks.items()}
    pictures = probe.images.images
    # First, so that a missing CLIP model is an error before the networks are run.
    texts = text_features(
        probe.clip, probe.concepts.words, templates=probe.templates, cache=cache,
        on_progress=partial(on_progress, "CLIP, concepts"),
    )  # fmt: skip
    images = image_features(
        probe.clip, pictures, cache=cache, on_progress=partial(on_progress, "CLIP, images")
    )
    activations: dict[tuple[str, str], torch.Tensor] = {}
    for name, classifier in networks.items():
        by_layer = unit_activations(
            classifier, pictures, chosen[name], pooling=probe.pooling, tokens=probe.tokens,
            cache=cache, on_progress=partial(on_progress, name),
        )  # fmt: skip
        activations |= {(name, layer): torch.from_numpy(t) for layer, t in by_layer.items()}
    return SavedFeatures(
        torch.from_numpy(images), torch.from_numpy(texts), probe.concepts.words, activations,
        probe.images.name, probe.concepts.name, probe.settings,
    )  # fmt: skip


def _packed(describe: Callable[[], LayerDescription]) -> bytes:
    return json.dumps(describe().to_json()).encode()


def _labels_key(probing: Probing, concepts: Sequence[str], settings: object) -> str:
    """Cache key: a hash of everything that the labels of a layer depend on."""
    digest = hashlib.sha256(f"labels {_VERSION} {settings!r}".encode())
    digest.update(json.dumps(list(concepts)).encode())
    for table in (probing.images, probing.texts, probing.activations):
        digest.update(f"{tuple(table.shape)} {table.dtype}".encode())
        plain = table.detach().cpu().contiguous().view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
