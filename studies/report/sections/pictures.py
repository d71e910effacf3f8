"""What the model sees, and every method's picture of it."""

from __future__ import annotations

from studies.records import ComparisonRun
from studies.report.blocks import Block, Marks, Missing, PanelImage, PanelRow, Table, Text
from studies.report.charts.panels import class_panels, panels
from studies.report.wording import NO_COMPARISON

__all__ = ["several_classes", "side_by_side", "what_the_model_sees"]


def what_the_model_sees(run: ComparisonRun | None) -> list[Block]:
    """The likeliest classes, with a mark where the first is not the catalogue's."""
    if run is None or not run.images:
        return [Missing(NO_COMPARISON)]
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
                f"{said}. The explanations are of {image.explained}."
            )
    header = ["image", *(f"{place}." for place in range(1, places + 1))]
    table = Table(
        f"The likeliest classes by {run.classifier}, with probability", header, rows,
        tuple(range(1, places + 1)),
    )  # fmt: skip
    return [table, *([Marks(marks)] if marks else [])]


def side_by_side(run: ComparisonRun | None) -> list[Block]:
    """Every explanation of every image."""
    if run is None or not run.images:
        return [Missing(NO_COMPARISON)]
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


def several_classes(run: ComparisonRun | None) -> list[Block]:
    """What speaks for each of an image's likeliest classes."""
    shown = [
        image for image in (() if run is None else run.images) if image.comparison.other_classes
    ]
    if not shown:
        return [Missing("Only the likeliest class was explained: lime-tuner compare --classes 3.")]
    intro = Text("The same methods asked about the next likely classes of each image.")
    rows = [
        PanelRow(image.key, "", [PanelImage.of(panel) for panel in class_panels(image)])
        for image in shown
    ]
    return [intro, *rows]
