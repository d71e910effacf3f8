"""Sections with the classifier's likeliest classes, and with pictures of all explanations."""

from __future__ import annotations

from dataclasses import replace

from explainers.metrics import LIME_DEFAULT, LIME_TUNED
from studies.records import ComparisonRun
from studies.report.blocks import Block, Marks, Missing, PanelRow, Table, Text
from studies.report.charts.panels import class_panels, panels

__all__ = ["at_a_glance", "several_classes", "side_by_side", "what_the_model_sees"]

_MOST_AT_A_GLANCE = 4


def at_a_glance(run: ComparisonRun | None) -> list[PanelRow]:
    """Show the first images beside their explanations by lime's defaults and tuned."""
    rows = []
    for image in () if run is None else run.images[:_MOST_AT_A_GLANCE]:
        found = panels(image)
        lime = [panel for panel in found if panel.title in (LIME_DEFAULT, LIME_TUNED)]
        if len(lime) == 2:
            rows.append(PanelRow(image.key, "", [replace(found[0], title=image.key), *lime]))
    return rows


def what_the_model_sees(run: ComparisonRun) -> list[Block]:
    """List the likeliest classes, with a warning where the first is not the catalogue's."""
    places = range(1, 1 + max(len(image.class_names) for image in run.images))
    rows, marks = [], []
    for image in run.images:
        cells = [
            f"{name} {probability:.2f}"
            for name, (_, probability) in zip(
                image.class_names, image.comparison.facts.top_classes, strict=True
            )
        ]
        rows.append([image.key, *cells, *[""] * (len(places) - len(cells))])
        said = image.catalog_class
        if said is not None and said.lower() != image.class_names[0].lower():
            marks.append(
                f"{image.key}: the first class is {image.class_names[0]}, the catalogue says "
                f"{said}. The explanations are of {image.explained}."
            )
    caption = f"The likeliest classes by {run.classifier}, with probability"
    table = Table(caption, ["image", *(f"{place}." for place in places)], rows, places)
    return [table, *([Marks(marks)] if marks else [])]


def side_by_side(run: ComparisonRun) -> list[Block]:
    """Show every explanation of every image."""
    intro = Text(
        "White is the outline of the reference, black that of the method's own mask. Heat maps "
        "run from dark blue to red. LIME's superpixels speak for the class in blue and against "
        "it in orange, the stronger the deeper."
    )
    rows = []
    for image in run.images:
        note = f"doubtful reference: {image.doubt}" if image.doubt else ""
        rows.append(PanelRow(image.key, note, panels(image)))
    return [intro, *rows, *_credits(run)]


def _credits(run: ComparisonRun) -> list[Block]:
    """Name the authors of the photographs that the catalogue names them of."""
    credits = run.arguments.get("credits", {})
    lines = [f"{image.key} by {credits[image.key]}" for image in run.images if image.key in credits]
    return [Text(f"Photographs: {'; '.join(lines)}.")] if lines else []


def several_classes(run: ComparisonRun | None) -> list[Block]:
    """Show the explanations of each image's likeliest classes."""
    shown = [
        image for image in (() if run is None else run.images) if image.comparison.other_classes
    ]
    if not shown:
        return [Missing("Only the likeliest class was explained: lime-tuner compare --classes 3.")]
    intro = Text("The same methods asked about the next likely classes of each image.")
    return [intro, *(PanelRow(image.key, "", class_panels(image)) for image in shown)]
