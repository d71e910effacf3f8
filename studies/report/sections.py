"""The report's sections. Every sentence with a number is made from the data; a section without data
says what to run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from explainers.comparison import LIME_DEFAULT, LIME_TUNED
from explainers.measures import MEASURES
from explainers.reliability import DOUBTFUL
from studies.analysis import by_method, lost_fidelity, methods_of
from studies.records import ComparisonRun
from studies.report import figures
from studies.report.blocks import (
    Block,
    Chart,
    ClaimBlock,
    Facts,
    Marks,
    Missing,
    PanelImage,
    PanelRow,
    Section,
    Table,
    Text,
)
from studies.report.claims import claims
from studies.report.facts import ReportFacts, StudyFacts
from studies.report.panels import panels
from studies.report.search import FEWEST_FOR_IMPORTANCE, histories
from studies.statistics import Interval, mean

__all__ = ["sections"]

_NO_COMPARISON = (
    "No comparison is recorded for this study: run lime-tuner compare with the same --study."
)


def sections(facts: ReportFacts, importance: Mapping[str, float]) -> list[Section]:
    """All of them, in the order of the page.

    Args:
        importance: as :func:`studies.report.search.importances` finds it.
    """
    run = facts.comparison
    return [
        Section("Summary", _summary(facts)),
        Section("What the model sees", _seen(run)),
        Section("Side by side", _side_by_side(run)),
        Section("IoU per image", _iou_per_image(facts)),
        Section("IoU by type", _by_type(run)),
        Section("Time and fidelity", _time(run)),
        Section("Agreement of methods", _agreement(run)),
        Section("Public claims", _claims(run)),
        Section("The search", _search(facts, importance)),
        Section("Chosen parameters", _parameters(facts)),
        Section(
            "Dissection",
            [Missing("No dissection is recorded in this storage.")],
        ),
        Section("How it was measured", _how(facts)),
    ]


def _around(found: Interval) -> str:
    if not found.size:
        return ""
    if found.size == 1:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _finished(facts: ReportFacts) -> list[StudyFacts]:
    return [study for study in facts.studies if study.overview.best_iou is not None]


def _summary(facts: ReportFacts) -> list[Block]:
    if not facts.studies:
        others = ", ".join(facts.other_prefixes)
        there = f" It holds studies of {others}: name one with --study." if others else ""
        none = f"The storage has no study '{facts.prefix}/…'."
        return [Missing(f"{none}{there} Run lime-tuner tune.")]
    done = _finished(facts)
    trials = sum(study.overview.finished for study in facts.studies)
    first = facts.studies[0].attributes
    model = first.get("classifier", {}).get("name", "an unknown classifier")
    rules = sorted(
        {str(study.attributes.get("reference", {}).get("rule", "")) for study in facts.studies}
        - {""}
    )
    blocks: list[Block] = [
        Text(
            f"LIME's parameters were tuned for {len(done)} of {len(facts.studies)} images in "
            f"{trials} finished trials on {model}, scored by the IoU with the reference "
            f"{', '.join(rules) or 'that was given'} minus a penalty for runtime."
        )
    ]
    both = [s.overview for s in done if s.overview.default_iou is not None]
    if both:
        usual, tuned = (
            mean([getattr(o, name) for o in both]) for name in ("default_iou", "best_iou")
        )
        seconds = [
            mean([getattr(o, name) for o in both]).mean
            for name in ("default_seconds", "best_seconds")
        ]
        blocks.append(
            Text(
                f"Mean IoU rose from {_around(usual)} with lime's defaults to {_around(tuned)} "
                f"({len(both)} images; 95 % bootstrap intervals), at {seconds[1]:.2f} s instead of "
                f"{seconds[0]:.2f} s an explanation by the runtime model. These are the studies' "
                "own figures, on the seeds that chose the winners."
            )
        )
    waiting = [study.key for study in facts.studies if study.overview.best_iou is None]
    if waiting:
        blocks.append(Text(f"No trial is complete yet for {', '.join(waiting)}."))
    run = facts.comparison
    if run is not None and LIME_TUNED in methods_of(run):
        found = by_method(run)
        before, after = found[LIME_DEFAULT], found[LIME_TUNED]
        blocks.append(
            Text(
                f"Explained again by stock lime with a fresh seed, on the clock: IoU "
                f"{_around(before['iou'])} with the defaults and {_around(after['iou'])} tuned, "
                f"{before['seconds'].mean:.2f} s and {after['seconds'].mean:.2f} s."
            )
        )
    marks = _marks(facts)
    if marks:
        blocks.append(Marks(marks))
    return blocks


def _marks(facts: ReportFacts) -> list[str]:
    lines = []
    for study in facts.studies:
        trust = study.overview.reliability
        if trust is not None and trust < DOUBTFUL:
            lines.append(f"{study.key}: the reference is doubtful (reliability {trust:.2f}).")
    for image in () if facts.comparison is None else facts.comparison.images:
        lost = lost_fidelity(image)
        if lost:
            lines.append(
                f"{image.key}: tuned LIME explains less than lime's defaults ({'; '.join(lost)})."
            )
    return lines


def _seen(run: ComparisonRun | None) -> list[Block]:
    if run is None or not run.images:
        return [Missing(_NO_COMPARISON)]
    places = max(len(image.class_names) for image in run.images)
    rows, marks = [], []
    for image in run.images:
        cells = [
            f"{name} {probability:.2f}"
            for name, (_, probability) in zip(
                image.class_names, image.comparison.facts.top_classes, strict=True
            )
        ]
        rows.append([image.key, *cells, *[""] * (places - len(cells))])
        said = image.catalog_class
        if said is not None and said.lower() != image.class_names[0].lower():
            marks.append(
                f"{image.key}: the first class is {image.class_names[0]}, the catalogue says "
                f"{said}. The explanations are of {image.class_names[0]}."
            )
    header = ["image", *(f"{place}." for place in range(1, places + 1))]
    table = Table(
        f"The likeliest classes by {run.classifier}, with probability", header, rows,
        tuple(range(1, places + 1)),
    )  # fmt: skip
    return [table, *([Marks(marks)] if marks else [])]


def _side_by_side(run: ComparisonRun | None) -> list[Block]:
    if run is None or not run.images:
        return [Missing(_NO_COMPARISON)]
    blocks: list[Block] = [
        Text(
            "White is the outline of the reference, black that of the method's own mask. Heat maps "
            "run from dark blue to red. LIME's superpixels speak for the class in blue and against "
            "it in orange, the stronger the deeper."
        )
    ]
    for image in run.images:
        note = "" if image.doubt == "" else f"doubtful reference: {image.doubt}"
        shown = [PanelImage.of(panel) for panel in panels(image)]
        blocks.append(PanelRow(image.key, note, shown))
    return blocks


def _iou_per_image(facts: ReportFacts) -> list[Block]:
    rows = [
        (study.key, study.overview.default_iou, study.overview.best_iou)
        for study in facts.studies
        if study.overview.best_iou is not None
    ]
    if not rows:
        return [Missing("No study has a complete trial yet.")]
    better = sum(best > usual for _, usual, best in rows if usual is not None and best is not None)
    with figures.style():
        chart = Chart.of(
            figures.dumbbells(rows, "IoU with the reference", (LIME_DEFAULT, LIME_TUNED)),
            f"IoU per image with lime's defaults and tuned; tuned is better for {better} of "
            f"{len(rows)}. The table below has the figures.",
            f"IoU of the studies' own trials; tuned is better for {better} of {len(rows)} images.",
        )
    table = Table(
        "The studies' own figures; seconds by the runtime model",
        [
            "image", "IoU, defaults", "IoU, tuned", "s, defaults", "s, tuned", "trials",
            "reliability",
        ],
        [
            [
                s.key, _number(s.overview.default_iou), _number(s.overview.best_iou),
                _number(s.overview.default_seconds, 2), _number(s.overview.best_seconds, 2),
                str(s.overview.finished), _number(s.overview.reliability, 2),
            ]
            for s in facts.studies
        ],
    )  # fmt: skip
    return [chart, table]


def _by_type(run: ComparisonRun | None) -> list[Block]:
    if run is None:
        return [Missing(_NO_COMPARISON)]
    methods = [m for m in methods_of(run) if m in (LIME_DEFAULT, LIME_TUNED)]
    if not methods or not any(image.type for image in run.images):
        return [Missing("The catalogue does not say which images are animate.")]
    counts = {t: sum(i.type == t for i in run.images) for t in ("animate", "inanimate")}
    with figures.style():
        return [
            Chart.of(
                figures.agreement_by_type(run, methods),
                f"Box plots with points: agreement of LIME with the heat maps for "
                f"{counts['animate']} animate and {counts['inanimate']} inanimate images.",
                "Mean IoU of LIME's mask with the masks of the heat maps, one point an image.",
            )
        ]


def _time(run: ComparisonRun | None) -> list[Block]:
    if run is None:
        return [Missing(_NO_COMPARISON)]
    found, methods = by_method(run), methods_of(run)
    rows = [
        [
            measure.title,
            "higher" if measure.higher_is_better else "lower",
            *(_around(found[method][name]) for method in methods),
        ]
        for name, measure in MEASURES.items()
    ]
    with figures.style():
        chart = Chart.of(
            figures.time_against_fidelity(run),
            "Scatter of seconds against insertion minus deletion for every method and image.",
            "Up and to the left is better. Diamonds are means over the images.",
        )
    caption = f"Mean over {len(run.images)} images, 95 % bootstrap interval"
    return [chart, Table(caption, ["measure", "better", *methods], rows, (1,))]


def _agreement(run: ComparisonRun | None) -> list[Block]:
    if run is None:
        return [Missing(_NO_COMPARISON)]
    rule = run.arguments.get("rule", "")
    with figures.style():
        return [
            Chart.of(
                figures.agreement_heat_map(run),
                "Matrix of the mean IoU between the masks of every two methods; "
                "tables/agreement.csv has its figures.",
                f"Mean IoU of masks over {len(run.images)} images; heat maps are cut at {rule}, "
                "LIME's masks are its five heaviest superpixels.",
            )
        ]


def _claims(run: ComparisonRun | None) -> list[Block]:
    if run is None:
        return [Missing(_NO_COMPARISON)]
    intro = Text(
        "Public reports of this task make these claims. The answer here is 'supported' or "
        "'contradicted' only where an interval or a test at 5 % says so; square brackets are 95 % "
        "bootstrap intervals over images."
    )
    return [intro, *(ClaimBlock.of(claim) for claim in claims(run))]


def _search(facts: ReportFacts, importance: Mapping[str, float]) -> list[Block]:
    scores = {key: values for key, values in histories(facts).items() if values}
    if not scores:
        return [Missing("No trial is finished yet.")]
    with figures.style():
        blocks: list[Block] = [
            Chart.of(
                figures.study_histories(scores),
                f"Best score so far over trials for {len(scores)} studies.",
                "The line is the best score so far, points are complete trials; trials that were "
                "stopped early have no point.",
            )
        ]
        if importance:
            first = max(importance, key=lambda name: importance[name])
            blocks.append(
                Chart.of(
                    figures.importance_bars(importance),
                    f"Bars: importance of each parameter; the largest is {first}.",
                    f"Importance for the score (fANOVA), mean over studies; {first} matters most "
                    f"({importance[first]:.0%}). The trials were chosen by the search, not at "
                    "random, so this is a hint only.",
                )
            )
        else:
            blocks.append(
                Missing(
                    f"Importance of parameters needs {FEWEST_FOR_IMPORTANCE} complete trials of "
                    "one image."
                )
            )
    return blocks


def _parameters(facts: ReportFacts) -> list[Block]:
    chosen = {s.key: json.loads(s.parameters) for s in facts.studies if s.parameters}
    if not chosen:
        return [Missing("No study has a complete trial yet.")]
    names = (
        "segmentation", "hide_color", "num_samples", "num_features", "distance_metric",
        "regressor", "top_labels", "batch_size",
    )  # fmt: skip
    rows = [[key, *(_word(document.get(n)) for n in names)] for key, document in chosen.items()]
    return [
        Table(
            "What the best trial of each study used; '' is lime's own default",
            ["image", *(name.replace("_", " ") for name in names)],
            rows,
            tuple(range(1, len(names) + 1)),
        )
    ]


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        inner = dict(value)
        kind = inner.pop("algorithm", None) or inner.pop("name", "")
        return f"{kind}({', '.join(f'{k}={v:g}' for k, v in inner.items())})"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return str(value)


def _how(facts: ReportFacts) -> list[Block]:
    run = facts.comparison
    pairs: list[tuple[str, str]] = [("storage", facts.storage), ("study", facts.prefix)]
    if facts.studies:
        first = facts.studies[0].attributes
        pairs += [
            ("runtime weight", str(first.get("runtime_weight", ""))),
            ("mask rule", json.dumps(first.get("mask_rule", {}))),
            ("constraints", ", ".join(first.get("constraints", [])) or "none"),
            ("engine of the search", str(first.get("engine", ""))),
            ("packages of the search", _packages(first.get("package_versions", {}))),
        ]
    if run is not None:
        pairs += [
            ("comparison", f"{run.at:%Y-%m-%d %H:%M} UTC on {run.device}, {run.classifier}"),
            ("masks of heat maps", str(run.arguments.get("rule", ""))),
            ("explainer seeds", f"{run.arguments.get('seeds', '')} from {run.seed}"),
            ("packages of the comparison", _packages(run.package_versions)),
        ]
    rows: Sequence[Sequence[str]] = [
        [measure.title, "higher" if measure.higher_is_better else "lower", measure.source]
        for measure in MEASURES.values()
    ]
    return [Facts(pairs), Table("Measures", ["measure", "better", "source"], rows, (1, 2))]


def _packages(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
