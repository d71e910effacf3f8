"""The whole job: tables or networks → labelled units with all that is recorded of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from dissection.concepts import ConceptList
from dissection.describe import LayerDescription, describe_layer
from dissection.description_cache import cached_description
from dissection.feature_cache import FeatureCache
from dissection.networks import Probe, contact_sheets, probe_networks
from dissection.records import Dissection
from dissection.reference_files import (
    SavedNames,
    find_saved,
    read_arguments,
    read_descriptions,
    read_saved,
    write_saved,
)
from dissection.saved_features import SavedFeatures, read_features
from dissection.similarity import SimilarityMethod, similarity_method
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput

__all__ = [
    "Labelling", "dissect_features", "dissect_networks", "dissect_saved", "imported_dissection",
]  # fmt: skip

Told = Callable[[str, float], None]
"""Called with what is done and the share that is."""

_SHEET_UNITS, _SHEET_IMAGES = 12, 8
_PACKAGES = ("torch", "torchvision", "numpy", "open_clip_torch")


@dataclass(frozen=True)
class Labelling:
    """How units are labelled; see :func:`dissection.describe.describe_layer`.

    Raises:
        InvalidInput: a level that is no share.
    """

    method: SimilarityMethod = field(default_factory=lambda: similarity_method("soft_wpmi"))
    top: int = 5
    permutations: int = 1000
    bootstrap: int = 20
    level: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InvalidInput(f"level {self.level}: give a share between 0 and 1, e.g. 0.05")

    @property
    def settings(self) -> dict[str, Any]:
        """For the record."""
        names = ("top", "permutations", "bootstrap", "level", "seed")
        return {"similarity": self.method.name, **{name: getattr(self, name) for name in names}}


def dissect_features(
    path: Path,
    labelling: Labelling,
    *,
    layers: Sequence[str] = (),
    cache: FeatureCache | None = None,
    told: Told = lambda what, share: None,
) -> list[Dissection]:
    """Every network in a file of saved features.

    Args:
        layers: only these.

    Raises:
        InvalidInput: see :func:`dissection.saved_features.read_features`; a layer it does not have.
    """
    tables = read_features(path)
    known = sorted({layer for _, layer in tables.activations})
    _check_layers(path, layers, known)
    found = _described(tables, labelling, layers or known, {}, cache, told)
    return [replace(each, probe=path.name, concept_list=path.name) for each in found]


def dissect_saved(
    folder: Path,
    concepts: ConceptList,
    labelling: Labelling,
    *,
    clip: str | None = None,
    pooling: str = "mean",
    layers: Sequence[str] = (),
    cache: FeatureCache | None = None,
    told: Told = lambda what, share: None,
) -> list[Dissection]:
    """Every network in a folder of activations that the reference implementation has saved.

    Args:
        clip: which vision-language model, where the folder has features of several.
        layers: only these.

    Raises:
        InvalidInput: see :func:`dissection.reference_files.find_saved`; a layer it does not have.
    """
    names, tables = find_saved(folder, concepts.name, clip=clip, pooling=pooling)
    known = sorted({layer for _, layer in tables})
    _check_layers(folder, layers, known)
    wanted = [(model, layer) for model, layer in tables if not layers or layer in layers]
    features = read_saved(folder, names, concepts.words, wanted)
    found = _described(features, labelling, layers or known, {}, cache, told)
    further = {"clip_model": names.clip, "pooling": pooling, "concepts_sha256": concepts.sha256}
    return [
        replace(
            each, probe=names.probe, concept_list=concepts.name,
            settings={**each.settings, **further},
        )
        for each in found
    ]  # fmt: skip


def dissect_networks(
    networks: Mapping[str, Classifier],
    probe: Probe,
    labelling: Labelling,
    *,
    layers: Sequence[str] = (),
    cache: FeatureCache | None = None,
    save: Path | None = None,
    told: Told = lambda what, share: None,
) -> list[Dissection]:
    """Networks by name, with the pictures that activate their units.

    Args:
        layers: of every network; none: the last three stages of each.
        save: folder for features and activations as the reference implementation saves them.

    Raises:
        InvalidInput, InvalidImage, MissingAsset: see
            :func:`dissection.networks.probe_networks`.
    """
    images, least = len(probe.images.images), labelling.method.least_images
    if images < least:
        raise InvalidInput(
            f"{probe.images.name} has {images} pictures, {labelling.method.name} needs at least "
            f"{least}: give more of them, or another --similarity"
        )
    tables = probe_networks(networks, probe, layers, cache=cache, told=told)
    if save is not None:
        clip = Path(probe.clip.name).name.removesuffix(".json").replace("/", "")
        write_saved(
            save, SavedNames(probe.images.name, clip, probe.concepts.name, probe.pooling), tables
        )
    names = {name: classifier.class_names for name, classifier in networks.items()}
    wanted = {layer for _, layer in tables.activations}
    found = []
    for each in _described(tables, labelling, wanted, names, cache, told):
        sheets: dict[tuple[str, int], bytes] = {}
        for layer in each.layers:
            sheets |= contact_sheets(
                networks[each.model], probe, layer, tables.activations[each.model, layer.layer],
                units=_SHEET_UNITS, images=_SHEET_IMAGES, cache=cache, told=told,
            )  # fmt: skip
        found.append(
            replace(
                each,
                probe=probe.images.name,
                probe_sha256=probe.images.sha256,
                concept_list=probe.concepts.name,
                classifier_sha256=networks[each.model].fingerprint,
                settings={
                    **each.settings,
                    "clip_model": probe.clip.short_name,
                    "concepts_sha256": probe.concepts.sha256,
                    "templates": list(probe.templates),
                    "pooling": probe.pooling,
                    "tokens": probe.tokens,
                },
                sheets=sheets,
            )
        )
    return found


def imported_dissection(name: str, descriptions: Path) -> Dissection:
    """Labels that another program has found, with its ``args.txt`` where there is one.

    Args:
        name: what the network is called.

    Raises:
        InvalidInput: see :func:`dissection.reference_files.read_descriptions`.
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


def _check_layers(path: Path, layers: Sequence[str], known: Sequence[str]) -> None:
    for layer in layers:
        if layer not in known:
            raise InvalidInput(f"{path} has no layer '{layer}'; it has {', '.join(known)}")


def _described(
    tables: SavedFeatures,
    labelling: Labelling,
    layers: Sequence[str] | set[str],
    class_names: Mapping[str, Sequence[str]],
    cache: FeatureCache | None,
    told: Told,
) -> list[Dissection]:
    """Label the layers of every network in the tables."""
    by_model: dict[str, list[LayerDescription]] = {}
    for model, layer in tables.activations:
        if layer not in layers:
            continue

        def now(what: str, share: float, model: str = model, layer: str = layer) -> None:
            told(f"{model} {layer}, {what}", share)

        probing, names = tables.probing(model, layer), class_names.get(model, ())
        compute = partial(
            describe_layer, model, layer, probing, tables.concepts, labelling.method,
            top=labelling.top, level=labelling.level, permutations=labelling.permutations,
            bootstrap=labelling.bootstrap, seed=labelling.seed, class_names=names, told=now,
        )  # fmt: skip
        question = (model, layer, labelling, tuple(names))
        described = cached_description(cache, probing, tables.concepts, question, compute)
        by_model.setdefault(model, []).append(described)
    return [
        Dissection(
            at=datetime.now(timezone.utc),
            model=model,
            layers=tuple(described_layers),
            probe="",
            concept_list="",
            similarity=labelling.method.name,
            settings=labelling.settings,
            package_versions=_package_versions(),
            images=len(tables.image_features),
            concepts=len(tables.concepts),
        )
        for model, described_layers in by_model.items()
    ]


def _package_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
