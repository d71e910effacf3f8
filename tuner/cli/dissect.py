"""``lime-tuner dissect``: what the units of networks respond to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explainers.errors import InvalidInput
from tuner.cli import options
from tuner.cli.output import console, table, work_progress, write_json
from tuner.cli.settings import setting

if TYPE_CHECKING:
    from dissection.networks import Probe
    from dissection.records import Dissection
    from explainers.classifiers import Classifier

__all__ = ["dissect"]


def dissect(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A classifier as in tune; may be repeated."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="Of each --model in order: imagenet, a torchvision weights name, FILE, or "
            "NAME=FILE.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Module paths, separated by commas.  [default: the last three stages]"),
    ] = None,
    probe: Annotated[
        Path | None, typer.Option(help="Folder of pictures that the networks are probed with.")
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(help="classes, english:N, or a text file.  [default: english:20000]"),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            help="open_clip's model, or its configuration as a JSON file.  "
            "[default: ViT-B-16-quickgelu]"
        ),
    ] = None,
    clip_weights: Annotated[
        str | None,
        typer.Option(help="open_clip's tag, a checkpoint, or random.  [default: openai]"),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Template with {} for the concept; may be repeated.  [default: {}]"),
    ] = None,
    pooling: Annotated[str, typer.Option(help="Of feature maps: mean or max.")] = "mean",
    tokens: Annotated[str, typer.Option(help="Of transformers: cls or mean.")] = "cls",
    features: Annotated[
        Path | None,
        typer.Option(help="Saved features and activations (.npz) instead of --model and --probe."),
    ] = None,
    saved: Annotated[
        Path | None,
        typer.Option(
            help="Folder of activations as CLIP-Dissect saves them, with --concepts FILE."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Folder to save features and activations to, as CLIP-Dissect does."),
    ] = None,
    descriptions: Annotated[
        list[str] | None,
        typer.Option(help="NAME=descriptions.csv: labels to record as they are; may be repeated."),
    ] = None,
    similarity: Annotated[
        str,
        typer.Option(help="soft_wpmi, wpmi, rank_reorder, cos_similarity, cos_similarity_cubed."),
    ] = "soft_wpmi",
    top: Annotated[int, typer.Option(min=1, help="Concepts kept of each unit.")] = 5,
    permutations: Annotated[
        int, typer.Option(min=0, help="Orders by chance for the p-values; 0: none.")
    ] = 1000,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Samples of the images for the stability; 0: none.")
    ] = 20,
    level: Annotated[float, typer.Option(help="Of false discoveries, for labels to survive.")] = (
        0.05
    ),
    seed: Annotated[int, typer.Option(help="Of orders and samples.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for descriptions.csv and args.txt."),
    ] = None,
    device: options.Device = None,
    storage: options.Storage = None,
    as_json: options.AsJson = False,
) -> None:
    """Label the units of networks by concepts, and say how sure the labels are.

    CLIP-Dissect: a unit is called what its most activating pictures look like to a CLIP model.
    Recorded beside the studies, for the report and anyone's SQL.
    """
    from dissection.concepts import concept_list
    from dissection.dissecting import (
        Labelling,
        dissect_features,
        dissect_networks,
        dissect_saved,
        imported_dissection,
    )
    from dissection.feature_cache import FeatureCache
    from dissection.joining import join_explanations
    from dissection.records import add_dissection
    from dissection.reference_files import write_descriptions
    from dissection.similarity import similarity_method
    from studies.catalog.assets import cache_folder
    from studies.storage import DEFAULT_STORAGE, check_storage, open_storage

    sources = {
        "--features": features, "--saved": saved, "--descriptions": descriptions, "--probe": probe,
    }  # fmt: skip
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        raise InvalidInput(
            f"{' and '.join(given) or 'nothing to dissect'}: give --probe DIR with --model, or "
            "--features FILE.npz, or --saved DIR, or --descriptions NAME=FILE"
        )
    labelling = Labelling(similarity_method(similarity), top, permutations, bootstrap, level, seed)
    url = setting("storage", storage, DEFAULT_STORAGE)
    check_storage(url, write=True)  # told before the work; nothing is made yet
    networks: dict[str, Classifier] = {}
    wanted = _wanted(layers)
    with work_progress("dissecting") as advance:

        def told(what: str, share: float) -> None:
            advance(what, share, 1.0)

        cache = FeatureCache(cache_folder() / "features.db")
        try:
            if descriptions:
                found = [imported_dissection(*_named(each)) for each in descriptions]
            elif features is not None:
                found = dissect_features(features, labelling, layers=wanted, cache=cache, told=told)
            elif saved is not None:
                if concepts is None:
                    raise InvalidInput("--saved needs the list of its text features: --concepts")
                found = dissect_saved(
                    saved, concept_list(concepts), labelling, clip=clip, pooling=pooling,
                    layers=wanted, cache=cache, told=told,
                )  # fmt: skip
            else:
                assert probe is not None
                networks = _networks(model, weights, setting("device", device))
                asked = _probe(
                    probe, concepts, clip, clip_weights, prompt, pooling, tokens, networks
                )
                found = dissect_networks(
                    networks, asked, labelling, layers=wanted, cache=cache, save=save, told=told
                )
        finally:
            cache.close()
    open_storage(url).close()
    for dissection in found:
        add_dissection(url, dissection)
    joined = sum(join_explanations(url, classifier) for classifier in networks.values())
    files = []
    if output is not None:
        for each in found:
            folder = output if len(found) == 1 else output / each.model.replace("/", "_")
            facts = {**each.settings, "target_model": each.model, "d_probe": each.probe}
            files.append(write_descriptions(folder, each.layers, facts))
    if as_json:
        write_json(
            {
                "models": {dissection.model: _document(dissection) for dissection in found},
                "joined": joined,
                "files": [str(file) for file in files],
            }
        )
    else:
        _show(found)
        if joined:
            console.print(f"joined with {joined} tuned explanations; lime-tuner report shows them")
        for file in files:
            console.print(f"wrote {file}")


def _wanted(layers: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (layers or "").split(",") if name.strip()))


def _networks(
    models: Sequence[str] | None, weights: Sequence[str] | None, device: str | None
) -> dict[str, Classifier]:
    """Classifiers by the names that their labels are recorded under."""
    from explainers.classifiers import load_classifier

    models, weights = list(models or ()), list(weights or ())
    if not models:
        raise InvalidInput("--probe needs a network: give --model, and --weights where it has some")
    if weights and len(weights) != len(models):
        raise InvalidInput(
            f"{len(models)} --model and {len(weights)} --weights: give each network its weights, "
            "in the same order (imagenet for torchvision's own)"
        )
    found: dict[str, Classifier] = {}
    for number, model in enumerate(models):
        given = weights[number] if weights else None
        label, file = _labelled(given)
        name = " ".join(part for part in (model, label) if part)
        if name in found:
            raise InvalidInput(
                f"two networks are called '{name}': tell them apart, --weights NAME=FILE"
            )
        found[name] = load_classifier(model, weights=file, device=device)
    return found


def _labelled(weights: str | None) -> tuple[str, str | None]:
    """(what the weights are called, what the loader is given)."""
    if weights is None:
        return "", None
    if weights == "imagenet" and not Path(weights).is_file():
        return weights, None
    label, equals, file = weights.partition("=")
    if equals and label and file:
        return label, None if file == "imagenet" else file
    return Path(weights).name.split(".")[0], weights


def _probe(
    folder: Path,
    concepts: str | None,
    clip: str | None,
    clip_weights: str | None,
    prompt: Sequence[str] | None,
    pooling: str,
    tokens: str,
    networks: Mapping[str, Classifier],
) -> Probe:
    from dissection.concepts import concept_list
    from dissection.encoders import DEFAULT_CLIP, DEFAULT_CLIP_WEIGHTS, ClipModel
    from dissection.networks import Probe
    from dissection.probing_images import probing_images

    names = [name for c in networks.values() for name in c.class_names]
    device = str(next(iter(networks.values())).device)
    return Probe(
        images=probing_images(folder),
        concepts=concept_list(concepts or "english:20000", class_names=names),
        clip=ClipModel(clip or DEFAULT_CLIP, clip_weights or DEFAULT_CLIP_WEIGHTS, device),
        templates=tuple(prompt or ("{}",)),
        pooling=pooling,
        tokens=tokens,
    )


def _named(spec: str) -> tuple[str, Path]:
    name, equals, file = spec.partition("=")
    if not (name and equals and file):
        raise InvalidInput(
            f"--descriptions {spec}: give NAME=FILE, where NAME is what the network is called"
        )
    return name, Path(file)


def _document(dissection: Dissection) -> dict[str, Any]:
    from dissection.compare import best_rule, concept_counts, layer_concepts

    rule = best_rule(dissection.layers)
    return {
        "counted": rule,
        "concepts": concept_counts(dissection.layers, rule),
        "layers": {
            layer.layer: {
                "units": len(layer.units),
                "dead": layer_concepts(layer, rule).dead,
                "labelled": layer_concepts(layer, rule).units,
                "distinct": layer_concepts(layer, rule).distinct,
                "truth": None if layer.truth is None else vars(layer.truth),
                "by_size": [list(pair) for pair in layer.by_size],
                "labels": [
                    {
                        "unit": unit.number,
                        "concepts": list(unit.concepts),
                        "scores": list(unit.scores),
                        "p": unit.p,
                        "q": unit.q,
                        "stability": unit.stability,
                        "survives": unit.survives,
                    }
                    for unit in layer.units
                ],
            }
            for layer in dissection.layers
        },
    }


def _show(found: Sequence[Dissection]) -> None:
    from itertools import combinations

    from dissection.compare import best_rule, concept_counts, layer_concepts, overlap

    for dissection in found:
        rule = best_rule(dissection.layers)
        shown = table(
            f"{dissection.model}, {rule} labels",
            "layer", "units", "dead", "labelled", "concepts", "most units", "most similar",
        )  # fmt: skip
        for layer in dissection.layers:
            learned = layer_concepts(layer, rule)
            counts = list(concept_counts([layer], rule).items())[:4]
            best = learned.highest
            shown.add_row(
                layer.layer, str(len(layer.units)), str(learned.dead), str(learned.units),
                str(learned.distinct), ", ".join(f"{name} ({count})" for name, count in counts),
                "" if best is None else f"unit {best.number}: {best.concept}",
            )  # fmt: skip
        console.print(shown)
        for layer in dissection.layers:
            if layer.truth is not None:
                truth = layer.truth
                console.print(
                    f"{layer.layer}: of {truth.units} units that stand for a class, "
                    f"{truth.top1:.1%} are called by its name, {truth.top5:.1%} have it among "
                    f"five; mean rank {truth.mean_rank:.1f}"
                )
    for one, other in combinations(found, 2):
        rule = best_rule([*one.layers, *other.layers])
        both = overlap(one.layers, other.layers, rule)
        console.print(
            f"{one.model} and {other.model} share {len(both.shared)} concepts, Jaccard "
            f"{both.jaccard:.2f} [{both.low:.2f}, {both.high:.2f}] ({rule} labels)"
        )
