"""``lime-tuner dissect``: what the units of networks respond to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissection.dissecting import Probe, dissect_networks, dissect_tables, imported_dissection
from dissection.evidence import join_explanations
from dissection.labelling import Labelling
from dissection.labels import (
    add_dissection,
    best_rule,
    dissection_document,
    layer_concepts,
    overlap,
    write_descriptions,
)
from dissection.probing import (
    DEFAULT_CLIP,
    DEFAULT_CLIP_WEIGHTS,
    ClipModel,
    FeatureCache,
    concept_list,
    probing_images,
    read_features,
    read_saved,
)
from dissection.similarity import similarity_method
from explainers.classifiers import load_classifier
from explainers.errors import InvalidInput
from studies.catalog.assets import cache_folder
from studies.storage import check_storage, open_storage
from tuner.cli.options import AsJson, DeviceOption, StorageOptions, takes_groups
from tuner.cli.output import console, table, work_progress, write_json
from tuner.options import LABELS, OUTPUT, WHAT

if TYPE_CHECKING:
    from dissection.labels import Dissection
    from explainers.classifiers import Classifier

__all__ = ["dissect"]


@takes_groups
def dissect(
    where: StorageOptions,
    run_on: DeviceOption,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="A classifier as in tune; may be repeated.", rich_help_panel=WHAT
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="Of each --model in order: imagenet, a torchvision weights name, FILE, or "
            "NAME=FILE.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Module paths, separated by commas.  [default: the last three stages]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures that the networks are probed with.", rich_help_panel=WHAT
        ),
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="classes, english:N, or a text file.  [default: english:20000]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            help="open_clip's model, or its configuration as a JSON file.  "
            "[default: ViT-B-16-quickgelu]",
            rich_help_panel=LABELS,
        ),
    ] = None,
    clip_weights: Annotated[
        str | None,
        typer.Option(
            help="open_clip's tag, a checkpoint, or random.  [default: openai]",
            rich_help_panel=LABELS,
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Template with {} for the concept; may be repeated.  [default: {}]",
            rich_help_panel=LABELS,
        ),
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="Of feature maps: mean or max.", rich_help_panel=LABELS)
    ] = "mean",
    tokens: Annotated[
        str, typer.Option(help="Of transformers: cls or mean.", rich_help_panel=LABELS)
    ] = "cls",
    features: Annotated[
        Path | None,
        typer.Option(
            help="Saved features and activations (.npz) instead of --model and --probe.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    saved: Annotated[
        Path | None,
        typer.Option(
            help="Folder of activations as CLIP-Dissect saves them, with --concepts FILE.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Folder to save features and activations to, as CLIP-Dissect does.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    descriptions: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=descriptions.csv: labels to record as they are; may be repeated.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    similarity: Annotated[
        str,
        typer.Option(
            help="soft_wpmi, wpmi, rank_reorder, cos_similarity, cos_similarity_cubed.",
            rich_help_panel=LABELS,
        ),
    ] = "soft_wpmi",
    top: Annotated[
        int, typer.Option(min=1, help="Concepts kept of each unit.", rich_help_panel=LABELS)
    ] = 5,
    permutations: Annotated[
        int,
        typer.Option(
            min=0, help="Orders by chance for the p-values; 0: none.", rich_help_panel=LABELS
        ),
    ] = 1000,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Samples of the images for the stability; 0: none.", rich_help_panel=LABELS
        ),
    ] = 20,
    level: Annotated[
        float,
        typer.Option(help="Of false discoveries, for labels to survive.", rich_help_panel=LABELS),
    ] = (0.05),
    seed: Annotated[int, typer.Option(help="Of orders and samples.", rich_help_panel=LABELS)] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for descriptions.csv and args.txt.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label the units of networks by concepts.

    And say how sure the labels are. CLIP-Dissect: a unit is called what its most activating
    pictures look like to a CLIP model. Recorded beside the studies, for the report and anyone's
    SQL.
    """
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
    url = where.storage
    check_storage(url, write=True)  # fail before the work; creates nothing yet
    networks: dict[str, Classifier] = {}
    names = (name.strip() for name in (layers or "").split(","))
    wanted = tuple(dict.fromkeys(name for name in names if name))
    with (
        work_progress("dissecting") as advance,
        closing(FeatureCache(cache_folder() / "features.db")) as cache,
    ):

        def on_progress(step: str, share: float) -> None:
            advance(step, share, 1.0)

        if descriptions:
            dissections = [imported_dissection(*_named(each)) for each in descriptions]
        elif features is not None:
            tables = read_features(features, wanted)
            dissections = dissect_tables(tables, labelling, cache=cache, on_progress=on_progress)
        elif saved is not None:
            if concepts is None:
                raise InvalidInput("--saved needs the list of its text features: --concepts")
            tables = read_saved(
                saved, concept_list(concepts), clip=clip, pooling=pooling, layers=wanted
            )
            dissections = dissect_tables(tables, labelling, cache=cache, on_progress=on_progress)
        else:
            assert probe is not None
            networks = _networks(model or (), weights or (), run_on.device)
            classes = [name for network in networks.values() for name in network.class_names]
            on = str(next(iter(networks.values())).device)
            asked = Probe(
                images=probing_images(probe),
                concepts=concept_list(concepts or "english:20000", class_names=classes),
                clip=ClipModel(clip or DEFAULT_CLIP, clip_weights or DEFAULT_CLIP_WEIGHTS, on),
                templates=tuple(prompt or ("{}",)),
                pooling=pooling,
                tokens=tokens,
            )
            dissections = dissect_networks(
                networks, asked, labelling, layers=wanted, cache=cache, save=save,
                on_progress=on_progress,
            )  # fmt: skip
    open_storage(url).close()
    for dissection in dissections:
        add_dissection(url, dissection)
    joined = sum(join_explanations(url, classifier) for classifier in networks.values())
    files = []
    if output is not None:
        for each in dissections:
            folder = output if len(dissections) == 1 else output / each.model.replace("/", "_")
            facts = {**each.settings, "target_model": each.model, "d_probe": each.probe}
            files.append(write_descriptions(folder, each.layers, facts))
    if as_json:
        models = {dissection.model: dissection_document(dissection) for dissection in dissections}
        write_json({"models": models, "joined": joined, "files": [str(file) for file in files]})
        return
    _show(dissections)
    if joined:
        console.print(f"joined with {joined} tuned explanations; lime-tuner report shows them")
    for file in files:
        console.print(f"wrote {file}")


def _networks(
    models: Sequence[str], weights: Sequence[str], device: str | None
) -> dict[str, Classifier]:
    """Load the classifiers, by the names that their labels are recorded under."""
    if not models:
        raise InvalidInput("--probe needs a network: give --model, and --weights where it has some")
    if weights and len(weights) != len(models):
        raise InvalidInput(
            f"{len(models)} --model and {len(weights)} --weights: give each network its weights, "
            "in the same order (imagenet for torchvision's own)"
        )
    networks: dict[str, Classifier] = {}
    for number, model in enumerate(models):
        label, file = _labelled(weights[number]) if weights else ("", None)
        name = " ".join(part for part in (model, label) if part)
        if name in networks:
            raise InvalidInput(
                f"two networks are called '{name}': tell them apart, --weights NAME=FILE"
            )
        networks[name] = load_classifier(model, weights=file, device=device)
    return networks


def _labelled(weights: str) -> tuple[str, str | None]:
    """The name of the weights in the results, and the argument for the loader."""
    if weights == "imagenet" and not Path(weights).is_file():
        return weights, None
    label, _, file = weights.partition("=")
    if label and file:
        return label, None if file == "imagenet" else file
    return Path(weights).name.split(".")[0], weights


def _named(spec: str) -> tuple[str, Path]:
    name, _, file = spec.partition("=")
    if not (name and file):
        raise InvalidInput(
            f"--descriptions {spec}: give NAME=FILE, where NAME is what the network is called"
        )
    return name, Path(file)


def _show(dissections: Sequence[Dissection]) -> None:
    for dissection in dissections:
        rule = best_rule(dissection.layers)
        shown = table(
            f"{dissection.model}, {rule} labels",
            "layer", "units", "dead", "labelled", "concepts", "most units", "most similar",
            leave_out=("labelled", "dead"),
        )  # fmt: skip
        for layer in dissection.layers:
            learned = layer_concepts(layer, rule)
            best = learned.highest
            shown.add_row(
                layer.layer, str(len(layer.units)), str(learned.dead), str(learned.units),
                str(learned.distinct), learned.most(4),
                "" if best is None else f"unit {best.number}: {best.concept}",
            )  # fmt: skip
        console.print(shown)
        for layer in dissection.layers:
            if (truth := layer.truth) is not None:
                console.print(
                    f"{layer.layer}: of {truth.units} units that stand for a class, "
                    f"{truth.top1:.1%} are called by its name, {truth.top5:.1%} have it among "
                    f"five; mean rank {truth.mean_rank:.1f}"
                )
    for one, other in combinations(dissections, 2):
        rule = best_rule([*one.layers, *other.layers])
        both = overlap(one.layers, other.layers, rule)
        console.print(
            f"{one.model} and {other.model} share {len(both.shared)} concepts, Jaccard "
            f"{both.jaccard:.2f} [{both.low:.2f}, {both.high:.2f}] ({rule} labels)"
        )
