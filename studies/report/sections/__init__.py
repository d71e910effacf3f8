"""The report's sections. Every sentence with a number is made from the data; a section without data
says what to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studies.report.blocks import Block, Missing, Section
from studies.report.facts import ReportFacts
from studies.report.sections.measurement import how_it_was_measured
from studies.report.sections.methods import (
    agreement,
    iou_by_type,
    public_claims,
    time_and_fidelity,
)
from studies.report.sections.objectives import faithfulness, fronts, one_setting
from studies.report.sections.pictures import several_classes, side_by_side, what_the_model_sees
from studies.report.sections.summary import summary
from studies.report.sections.tuning import (
    chosen_parameters,
    constraint,
    iou_per_image,
    search,
    verified,
)

__all__ = ["sections"]


def sections(
    facts: ReportFacts, importance: Mapping[str, float], dissection: Sequence[Block] = ()
) -> list[Section]:
    """All of them, in the order of the page.

    Args:
        importance: as :func:`studies.report.search.importances` finds it.
        dissection: the section of that name.
    """
    run = facts.comparison
    nothing = [Missing("No dissection is recorded in this storage. Run lime-tuner dissect.")]
    # Few people ask for these, so they are there only when somebody has.
    further = [
        Section("Faithfulness", faithfulness(facts)),
        Section("Pareto fronts", fronts(facts)),
        Section("One setting for all images", one_setting(facts)),
    ]
    return [
        Section("Summary", summary(facts)),
        Section("What the model sees", what_the_model_sees(run)),
        Section("Side by side", side_by_side(run)),
        Section("Several classes", several_classes(run)),
        Section("IoU per image", iou_per_image(facts)),
        *(each for each in further if each.blocks),
        Section("Verified", verified(facts)),
        Section("IoU by type", iou_by_type(run)),
        Section("Time and fidelity", time_and_fidelity(run)),
        Section("Agreement of methods", agreement(run)),
        Section("Public claims", public_claims(run)),
        Section("The search", search(facts, importance)),
        Section("Cost of the constraint", constraint(facts)),
        Section("Chosen parameters", chosen_parameters(facts)),
        Section("Dissection", dissection or nothing),
        Section("How it was measured", how_it_was_measured(facts)),
    ]
