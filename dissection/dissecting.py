"""The whole job: tables or networks → labelled units with all that is recorded of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dissection.encoders import ClipModel, ConceptList, image_features, text_features
from dissection.labelling import Labelling, describe_layer
from dissection.labels import Dissection, LayerDescription, read_arguments, read_descriptions
from dissection.probing import (
    NO_CACHE,
    FeatureCache,
    ProbingSet,
    SavedFeatures,
    SavedNames,
    check_layers,
    contact_sheets,
    default_layers,
    find_saved,
    read_features,
    read_saved,
    unit_activations,
    write_saved,
)
from dissection.progress import StepProgress
from explainers.classifier import Classifier
from explainers.errors import InvalidInput

__all__ = [
    "Probe", "dissect_features", "dissect_networks", "dissect_saved", "imported_dissection",
]  # fmt: skip

_SHEETS = 12  # contact sheets of a layer
_PACKAGES = ("torch", "torchvision", "numpy", "open_clip_torch")


@dataclass(frozen=True)
class Probe:
    """What networks are probed with.

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
        """For the record."""
        return {
            "clip_model": self.clip.short_name,
            "concepts_sha256": self.concepts.sha256,
            "templates": list(self.templates),
            "pooling": self.pooling,
            "tokens": self.tokens,
        }


def dissect_features(
    path: Path,
    labelling: Labelling,
    *,
    layers: Sequence[str] = (),
    cache: FeatureCache = NO_CACHE,
    on_progress: StepProgress = lambda step, share: None,
) -> list[Dissection]:
    """Every network in a file of saved features.

    Args:
        layers: only these.

    Raises:
        InvalidInput: see :func:`dissection.probing.read_features`; a layer it does not have.
    """
    tables = read_features(path)
    wanted = _wanted(path, layers, tables.activations)
    return [
        _dissection(model, described, tables, labelling, path.name, path.name, {})
        for model, described in _described(
            tables, wanted, labelling, {}, cache, on_progress
        ).items()
    ]


def dissect_saved(
    folder: Path,
    concepts: ConceptList,
    labelling: Labelling,
    *,
    clip: str | None = None,
    pooling: str = "mean",
    layers: Sequence[str] = (),
    cache: FeatureCache = NO_CACHE,
    on_progress: StepProgress = lambda step, share: None,
) -> list[Dissection]:
    """Every network in a folder of activations that the reference implementation has saved.

    Args:
        clip: which vision-language model, where the folder has features of several.
        layers: only these.

    Raises:
        InvalidInput: see :func:`dissection.probing.find_saved`; a layer it does not have.
    """
    names, saved = find_saved(folder, concepts.name, clip=clip, pooling=pooling)
    wanted = _wanted(folder, layers, saved)
    tables = read_saved(folder, names, concepts.words, wanted)
    further = {"clip_model": names.clip, "pooling": pooling, "concepts_sha256": concepts.sha256}
    return [
        _dissection(model, described, tables, labelling, names.probe, concepts.name, further)
        for model, described in _described(
            tables, wanted, labelling, {}, cache, on_progress
        ).items()
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
    """Networks by name, with the pictures that activate their units.

    Args:
        layers: of every network; none: the last three stages of each.
        save: folder for features and activations as the reference implementation saves them.

    Raises:
        InvalidInput: too few pictures; a layer that a network does not have, and what
            :func:`dissection.probing.unit_activations` and the CLIP model refuse.
        InvalidImage: a file that is no picture.
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
        clip = Path(probe.clip.name).name.removesuffix(".json").replace("/", "")
        names = SavedNames(probe.images.name, clip, probe.concepts.name, probe.pooling)
        write_saved(save, names, tables)
    class_names = {name: classifier.class_names for name, classifier in networks.items()}
    labelled = _described(
        tables, list(tables.activations), labelling, class_names, cache, on_progress
    )
    found = []
    for model, described in labelled.items():
        classifier = networks[model]
        sheets: dict[tuple[str, int], bytes] = {}
        for layer in described:
            units = sorted(layer.living, key=lambda u: (not u.survives, -(u.similarity or 0.0)))
            sheets |= contact_sheets(
                classifier, layer.layer, probe.images.images,
                tables.activations[model, layer.layer], [u.number for u in units[:_SHEETS]],
                cache=cache, on_progress=partial(on_progress, f"{layer.layer}, activating images"),
            )  # fmt: skip
        dissection = _dissection(
            model, described, tables, labelling, probe.images.name, probe.concepts.name,
            probe.settings,
        )  # fmt: skip
        found.append(
            replace(
                dissection,
                probe_sha256=probe.images.sha256,
                classifier_sha256=classifier.fingerprint,
                sheets=sheets,
            )
        )
    return found


def imported_dissection(name: str, descriptions: Path) -> Dissection:
    """Labels that another program has found, with its ``args.txt`` where there is one.

    Args:
        name: what the network is called.

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


def _wanted(
    path: Path, layers: Sequence[str], tables: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """(model, layer) of the tables that have been asked for; all where no layer is named."""
    tables = list(tables)
    known = sorted({layer for _, layer in tables})
    for layer in layers:
        if layer not in known:
            raise InvalidInput(f"{path} has no layer '{layer}'; it has {', '.join(known)}")
    return [(model, layer) for model, layer in tables if not layers or layer in layers]


def _probed(
    networks: Mapping[str, Classifier],
    probe: Probe,
    layers: Sequence[str],
    cache: FeatureCache,
    on_progress: StepProgress,
) -> SavedFeatures:
    """Features and activations of the pictures, features of the concepts."""
    for classifier in networks.values():  # before any work
        check_layers(classifier, layers)
    chosen = {name: tuple(layers) or default_layers(c) for name, c in networks.items()}
    pictures = probe.images.images
    # First, so that a missing CLIP model is an error before the networks are asked.
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
        torch.from_numpy(images), torch.from_numpy(texts), probe.concepts.words, activations
    )


def _described(
    tables: SavedFeatures,
    wanted: Sequence[tuple[str, str]],
    labelling: Labelling,
    class_names: Mapping[str, Sequence[str]],
    cache: FeatureCache,
    on_progress: StepProgress,
) -> dict[str, list[LayerDescription]]:
    """Labelled layers by network."""
    by_model: dict[str, list[LayerDescription]] = {}
    for model, layer in wanted:

        def report(step: str, share: float, what: str = f"{model} {layer}") -> None:
            on_progress(f"{what}, {step}", share)

        described = describe_layer(
            model, layer, tables.probing(model, layer), tables.concepts, labelling,
            class_names=class_names.get(model, ()), cache=cache, on_progress=report,
        )  # fmt: skip
        by_model.setdefault(model, []).append(described)
    return by_model


def _dissection(
    model: str,
    layers: Sequence[LayerDescription],
    tables: SavedFeatures,
    labelling: Labelling,
    probe: str,
    concept_list: str,
    settings: Mapping[str, Any],
) -> Dissection:
    """With the labelling's settings and further ones."""
    return Dissection(
        at=datetime.now(timezone.utc),
        model=model,
        layers=tuple(layers),
        probe=probe,
        concept_list=concept_list,
        similarity=labelling.method.name,
        settings={**labelling.settings, **settings},
        package_versions=_package_versions(),
        images=len(tables.image_features),
        concepts=len(tables.concepts),
    )


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
