"""The output of ``compare``: one JSON document, or tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from explainers.machine_load import busy_sentence
from explainers.metrics import MEASURES
from studies.results.analysis import (
    agreement_matrix,
    by_complexity,
    by_method,
    by_type,
    lost_fidelity,
    methods_of,
)
from tuner.cli.output import console, table

if TYPE_CHECKING:
    from studies.records import ComparisonRun
    from studies.results.fidelity import ConstraintCost

__all__ = ["comparison_document", "show_comparison", "show_constraint_costs"]


def comparison_document(run: ComparisonRun, costs: Mapping[str, ConstraintCost]) -> dict[str, Any]:
    """The document of ``compare --json``."""
    return {
        "study": run.study,
        "others_share": run.arguments.get("others_share"),
        "constraint": {
            key: {
                "iou": cost.iou,
                "iou_without": cost.free_iou,
                "refused": cost.refused,
                "reason": cost.reason,
            }
            for key, cost in costs.items()
        },
        "images": {
            image.key: {
                "type": image.type,
                "class": image.explained,
                "complexity": {
                    "edge_density": image.comparison.facts.edge_density,
                    "entropy": image.comparison.facts.entropy,
                    "superpixels": image.comparison.facts.superpixels,
                },
                "measures": {
                    each.explanation.method: {
                        name: None if value != value else value  # JSON has no NaN
                        for name, value in each.measures.items()
                    }
                    for each in image.comparison.explanations
                },
                "agreement": {
                    f"{first} | {second}": iou
                    for (first, second), iou in image.comparison.agreement.items()
                    if first < second
                },
            }
            for image in run.images
        },
    }


def show_comparison(run: ComparisonRun) -> None:
    """Show tables: measures by method, agreement of masks, types and complexity."""
    methods, count = methods_of(run), len(run.images)
    found = by_method(run)
    shown = table(f"mean over {count} images", "measure", "better", *methods, leave_out=("better",))
    for name, measure in MEASURES.items():
        better = "higher" if measure.higher_is_better else "lower"
        cells = [found[m][name].mean for m in methods]
        shown.add_row(measure.title, better, *(_cell(value) for value in cells))
    console.print(shown)
    busy = busy_sentence(run.arguments.get("others_share"))
    if busy is not None:
        console.print(busy)

    agreement = agreement_matrix(run)
    shown = table("IoU of masks, mean over images", "", *methods)
    for first in methods:
        shown.add_row(first, *(_cell(agreement[first, second].mean) for second in methods))
    console.print(shown)

    shown = table(
        "agreement of LIME with the heat maps, mean IoU",
        "", "animate", "inanimate", "difference", "p", "images",
    )  # fmt: skip
    for row in by_type(run):
        test = row.test
        shown.add_row(
            row.method, _cell(row.animate.mean), _cell(row.inanimate.mean),
            _cell(test.difference), _cell(test.p), f"{test.sizes[1]} + {test.sizes[0]}",
        )  # fmt: skip
    console.print(shown)
    shown = table("", "rank correlation of the agreement with", "explanation", "rho", "p", "images")
    for trend in by_complexity(run):
        shown.add_row(
            trend.complexity, trend.method, _cell(trend.found.rho), _cell(trend.found.p),
            str(trend.found.size),
        )  # fmt: skip
    console.print(shown)
    for image in run.images:
        for lost in lost_fidelity(image):
            console.print(f"{image.key}: the tuned explanation is less faithful: {lost}")


def show_constraint_costs(costs: Mapping[str, ConstraintCost]) -> None:
    """Show the costs as a table; nothing if no study has a constraint."""
    if not costs:
        return
    shown = table(
        "what the constraint costs (IoU of the studies)",
        "image", "IoU", "IoU without, at least", "refused", "the best that was refused",
    )  # fmt: skip
    for key, cost in costs.items():
        shown.add_row(key, _cell(cost.iou), _cell(cost.free_iou), str(cost.refused), cost.reason)
    console.print(shown)


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
