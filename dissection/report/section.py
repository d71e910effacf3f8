"""The report's section and tables on all dissected networks in a storage."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import combinations

from PIL import Image

from dissection.labels import (
    OTHER,
    SURVIVING,
    Dissection,
    LayerDescription,
    best_rule,
    category_shares,
    concept_counts,
    layer_concepts,
    overlap,
)
from dissection.report import figures
from studies.report import Block, Chart, Picture, Supplement, Table, Text, draw

__all__ = ["dissection_part"]

_NAMED = 12  # concepts in a sentence
_SHEETS = 6  # contact sheets a layer


def dissection_part(dissections: Sequence[Dissection]) -> Supplement | None:
    """The section and its CSV tables; ``None`` where no network is dissected."""
    if not dissections:
        return None
    layers = [layer for dissection in dissections for layer in dissection.layers]
    rule = best_rule(layers)
    blocks: list[Block] = [
        Text(_how(dissections, rule)),
        *(Text(_learned(d, rule)) for d in dissections),
    ]
    blocks += [_layers(layers, rule), *_charts(dissections, rule)]
    for one, other in combinations(dissections, 2):
        blocks += _shared(one, other, rule)
    curves = {f"{each.model} {each.layer}": each.by_size for each in layers if each.by_size}
    if curves:
        blocks.append(
            Chart(
                draw("labels_by_images", figures.agreement_by_size, curves),
                "Lines: share of labels that fewer probing images give already",
                "How many probing images a label needs: share of the labels of all images that a "
                "sample of them gives already.",
            )
        )
    truths = [
        [each.model, each.layer, str(t.units), f"{t.top1:.1%}", f"{t.top5:.1%}",
         f"{t.mean_rank:.1f}"]
        for each in layers
        if (t := each.truth) is not None
    ]  # fmt: skip
    if truths:
        header = ["network", "layer", "units", "first", "among five", "mean rank"]
        blocks.append(
            Table("Units that stand for a class: is its name the label?", header, truths, (1,))
        )
    for dissection in dissections:
        blocks += _evidence(dissection)
    for dissection in dissections:
        blocks += _sheets(dissection)
    return Supplement(blocks, _tables(layers, rule))


def _charts(dissections: Sequence[Dissection], rule: str) -> list[Block]:
    names = " and ".join(dissection.model for dissection in dissections)
    similarities = ", ".join(sorted({dissection.similarity for dissection in dissections} - {""}))
    return [
        Chart(
            draw("concepts", figures.top_concepts, dissections, rule),
            f"Bars: the concepts of most units in {names}",
            "Concepts of most units, by layer.",
        ),
        Chart(
            draw("concept_kinds", figures.categories_by_layer, dissections, rule),
            f"Stacked bars: kinds of concepts by layer of {names}",
            'What kind of thing the labels name, by word lists; most of "object or other" are '
            "objects.",
        ),
        Chart(
            draw("label_similarity", figures.similarity_histograms, dissections, rule),
            f"Histograms: similarity of labels by layer of {names}",
            f"Similarity of unit and label{f' ({similarities})' if similarities else ''}.",
        ),
    ]


def _how(dissections: Sequence[Dissection], rule: str) -> str:
    counted = (
        "Counted are units whose label survives the correction for false discoveries "
        f"(Benjamini-Hochberg, {dissections[0].layers[0].level:.0%})."
        if rule == SURVIVING
        else "Counted are all living units: the tables hold no p-values, so some labels are chance."
    )
    probes = {
        f"{d.images} images ({d.probe}) and {d.concepts} concepts ({d.concept_list})"
        if d.images is not None
        else f"the table {d.settings.get('read_from', '')} of another program"
        for d in dissections
    }
    return (
        "Units are called by the concept that their most activating images look like to a CLIP "
        f"model (CLIP-Dissect, Oikarinen and Weng 2023), from {'; '.join(sorted(probes))}. "
        f"{counted}"
    )


def _learned(dissection: Dissection, rule: str) -> str:
    counts = concept_counts(dissection.layers, rule)
    units = sum(counts.values())
    if not counts:
        return f"{dissection.model}: no unit has a label that counts."
    most = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:5])
    return (
        f"{dissection.model} learned {len(counts)} distinct concepts with {units} labelled units; "
        f"those of most units are {most}."
    )


def _layers(layers: Sequence[LayerDescription], rule: str) -> Table:
    rows = []
    for layer in layers:
        learned = layer_concepts(layer, rule)
        best = learned.highest
        highest = "" if best is None else f"{best.concept} ({best.similarity:.3f})"
        rows.append(
            [
                layer.model, layer.layer, str(len(layer.units)), str(learned.dead),
                str(learned.units), str(learned.distinct), f"{learned.effective:.0f}",
                f"{learned.specialisation:.2f}", learned.most(1), highest,
            ]
        )  # fmt: skip
    header = [
        "network", "layer", "units", "dead", "labelled", "concepts", "effective",
        "units a concept", "most units", "most similar",
    ]  # fmt: skip
    return Table("What the layers learned", header, rows, (1, 8, 9))


def _shared(one: Dissection, other: Dissection, rule: str) -> list[Block]:
    both = overlap(one.layers, other.layers, rule)
    shared = {"all layers": both}
    for layer in one.layers:
        same = [each for each in other.layers if each.layer == layer.layer]
        if same:
            shared[layer.layer] = overlap([layer], same, rule)
    rows = [
        [
            name, str(len(each.shared)), str(len(each.only_first)), str(len(each.only_second)),
            f"{each.jaccard:.3f}", f"{each.low:.3f} to {each.high:.3f}",
        ]
        for name, each in shared.items()
    ]  # fmt: skip
    header = [
        "", "shared", f"only {one.model}", f"only {other.model}", "Jaccard", "95 % interval",
    ]  # fmt: skip

    def some(concepts: Sequence[str]) -> str:
        return ", ".join(concepts[:_NAMED]) or "none"

    return [
        Text(_difference(one, other, rule)),
        Table(f"Concepts of {one.model} and {other.model}", header, rows),
        Text(
            f"Of most units and in both: {some(both.shared)}. Only in {one.model}: "
            f"{some(both.only_first)}. Only in {other.model}: {some(both.only_second)}."
        ),
    ]


def _difference(one: Dissection, other: Dissection, rule: str) -> str:
    """A sentence on the categories that differ most between the last layers of both."""
    last = [dissection.layers[-1] for dissection in (one, other)]
    shares = [category_shares(layer, rule) for layer in last]
    kinds = sorted(
        (kind for kind in shares[0] if kind != OTHER),
        key=lambda kind: -abs(shares[0][kind] - shares[1][kind]),
    )
    named = ", ".join(
        f"{kind} ({shares[0][kind]:.1%} of the labels against {shares[1][kind]:.1%})"
        for kind in kinds[:2]
    )
    return (
        f"In their last layers ({last[0].layer}, {last[1].layer}) {one.model} and {other.model} "
        f"differ most in {named}."
    )


def _evidence(dissection: Dissection) -> list[Block]:
    """Evidence in the last layer, where it sums to the logit if what follows is linear."""
    if not dissection.evidence:
        return []
    last = dissection.evidence[-1].layer
    rows = [
        [
            each.key,
            f"{each.inside_share:.0%}",
            ", ".join(f"{name} ({share:.0%})" for name, share in list(each.concepts.items())[:4]),
        ]
        for each in dissection.evidence
        if each.layer == last
    ]
    caption = (
        f"Evidence for the explained class inside tuned LIME's mask, {dissection.model} {last}"
    )
    return [
        Table(caption, ["image", "inside", "concepts of units that fire there"], rows, (2,)),
        *(Text(each.sentence) for each in dissection.evidence if each.layer == last),
    ]


def _sheets(dissection: Dissection) -> list[Block]:
    blocks: list[Block] = []
    for layer in dissection.layers:
        shown = [unit for unit in layer.units if (layer.layer, unit.number) in dissection.sheets]
        shown.sort(key=lambda unit: -(unit.similarity or 0.0))
        for unit in shown[:_SHEETS]:
            data = dissection.sheets[layer.layer, unit.number]
            width, height = Image.open(io.BytesIO(data)).size
            source = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
            what = f"{dissection.model} {layer.layer}, unit {unit.number}: {unit.concept}"
            further = ", ".join(unit.concepts[1:])
            caption = f"{what}{f' (then {further})' if further else ''}"
            blocks.append(
                Picture(source, f"The images that activate {what}", caption, width, height)
            )
    if blocks:
        blocks.insert(0, Text("The images that activate a unit most; where it fires less is dark."))
    return blocks


def _tables(
    layers: Sequence[LayerDescription], rule: str
) -> dict[str, tuple[Sequence[str], list[Sequence[object]]]]:
    units: list[Sequence[object]] = [
        (each.model, each.layer, *unit.table_row) for each in layers for unit in each.units
    ]
    concepts: list[Sequence[object]] = [
        (each.model, each.layer, name, count)
        for each in layers
        for name, count in concept_counts([each], rule).items()
    ]
    kinds: list[Sequence[object]] = [
        (each.model, each.layer, name, share)
        for each in layers
        for name, share in category_shares(each, rule).items()
    ]
    return {
        "units": (
            ("network", "layer", "unit", "concept", "similarity", "gap", "p", "q", "stability",
             "survives", "further"),
            units,
        ),
        "concepts": (("network", "layer", "concept", "units"), concepts),
        "concept_kinds": (("network", "layer", "kind", "share"), kinds),
    }  # fmt: skip
