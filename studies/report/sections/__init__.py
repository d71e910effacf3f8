"""The report's sections.

Every sentence with a number is made from the data; a section without data says what to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from studies.records import ComparisonRun
from studies.report.blocks import Block, Missing, Section
from studies.report.facts import ReportFacts
from studies.report.sections import methods, objectives, pictures, tuning
from studies.report.sections.measurement import how_it_was_measured
from studies.report.sections.pictures import at_a_glance
from studies.report.sections.summary import summary

__all__ = ["at_a_glance", "sections"]

_NO_COMPARISON = Missing(
    "No comparison is recorded for this study: run lime-tuner compare with the same --study."
)
_NO_DISSECTION = Missing("No dissection is recorded in this storage. Run lime-tuner dissect.")


def sections(
    facts: ReportFacts, importance: Mapping[str, float], dissection: Sequence[Block] = ()
) -> list[Section]:
    """Make all sections, in the order of the page.

    Args:
        importance: result of :func:`studies.report.search.importances`.
        dissection: blocks of the section "Dissection".
    """

    def compared(make: Callable[[ComparisonRun], Sequence[Block]]) -> Sequence[Block]:
        run = facts.comparison
        return [_NO_COMPARISON] if run is None or not run.images else make(run)

    # These have no section when they are empty, as few studies use them.
    further = {
        "Faithfulness": objectives.faithfulness(facts),
        "Pareto fronts": objectives.fronts(facts),
        "One setting for all images": objectives.one_setting(facts),
    }
    made = {
        "Summary": summary(facts),
        "What the model sees": compared(pictures.what_the_model_sees),
        "Side by side": compared(pictures.side_by_side),
        "Several classes": pictures.several_classes(facts.comparison),
        "IoU per image": tuning.iou_per_image(facts),
        **{title: blocks for title, blocks in further.items() if blocks},
        "Verified": tuning.verified(facts),
        "IoU by type": compared(methods.iou_by_type),
        "Time and fidelity": compared(methods.time_and_fidelity),
        "Agreement of methods": compared(methods.agreement),
        "Public claims": compared(methods.public_claims),
        "The search": tuning.search(facts, importance),
        "What the best settings explain": tuning.constraint(facts),
        "Chosen parameters": tuning.chosen_parameters(facts),
        "Dissection": dissection or [_NO_DISSECTION],
        "How it was measured": how_it_was_measured(facts),
    }
    return [Section(title, blocks) for title, blocks in made.items()]
