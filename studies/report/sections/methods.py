"""Sections that compare methods by type, time, fidelity and agreement, and on public claims."""

from __future__ import annotations

from explainers.machine_load import busy_sentence
from explainers.metrics import LIME_DEFAULT, LIME_TUNED, MEASURES
from studies.records import ComparisonRun
from studies.report.blocks import Block, Chart, Missing, Table, Text
from studies.report.charts import figures
from studies.report.charts.drawing import draw
from studies.report.claims import claims
from studies.report.wording import around, sentence
from studies.results.analysis import by_method, methods_of

__all__ = ["agreement", "iou_by_type", "public_claims", "time_and_fidelity"]


def iou_by_type(run: ComparisonRun) -> list[Block]:
    """Show the agreement of LIME with the heat maps on animate and on inanimate images."""
    methods = [m for m in methods_of(run) if m in (LIME_DEFAULT, LIME_TUNED)]
    if not methods or not any(image.type for image in run.images):
        return [Missing("The catalogue does not say which images are animate.")]
    counts = {t: sum(i.type == t for i in run.images) for t in ("animate", "inanimate")}
    return [
        Chart(
            draw("agreement_by_type", figures.agreement_by_type, run, methods),
            f"Box plots with points: agreement of LIME with the heat maps for "
            f"{counts['animate']} animate and {counts['inanimate']} inanimate images.",
            "Mean IoU of LIME's mask with the masks of the heat maps, one point an image.",
        )
    ]


def time_and_fidelity(run: ComparisonRun) -> list[Block]:
    """Show seconds against faithfulness, and every measure of every method."""
    found, methods = by_method(run), methods_of(run)
    rows = [
        [
            measure.title,
            "higher" if measure.higher_is_better else "lower",
            *(around(found[method][name], 2) for method in methods),
        ]
        for name, measure in MEASURES.items()
    ]
    chart = Chart(
        draw("time_against_fidelity", figures.time_against_fidelity, run),
        "Scatter of seconds against insertion minus deletion for every method and image.",
        "Up and to the left is better. Diamonds are means over the images, geometric ones of "
        "seconds.",
    )
    caption = f"Mean over {len(run.images)} images, 95 % bootstrap interval"
    busy = busy_sentence(run.arguments.get("others_share"))
    table = Table(caption, ["measure", "better", *methods], rows, (1,))
    return [chart, table, *([] if busy is None else [Text(sentence(busy))])]


def agreement(run: ComparisonRun) -> list[Block]:
    """Show the agreement of every two methods as a matrix."""
    rule = run.arguments.get("rule", "")
    return [
        Chart(
            draw("agreement_of_methods", figures.agreement_heat_map, run),
            "Matrix of the mean IoU between the masks of every two methods; "
            "tables/agreement.csv has its figures.",
            f"Mean IoU of masks over {len(run.images)} images; heat maps are cut at {rule}, "
            "LIME's masks are its five heaviest superpixels.",
        )
    ]


def public_claims(run: ComparisonRun) -> list[Block]:
    """Show public claims, and whether these data support them."""
    intro = Text(
        "Public reports of this task make these claims. The answer here is 'supported' or "
        "'contradicted' only where an interval or a test at 5 % says so; square brackets are 95 % "
        "bootstrap intervals over images."
    )
    return [intro, *claims(run)]
