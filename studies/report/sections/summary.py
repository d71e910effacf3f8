"""The first section: what was tuned, how much better it is, and warnings."""

from __future__ import annotations

from explainers.metrics import LIME_DEFAULT, LIME_TUNED
from explainers.references import DOUBTFUL
from studies.report.blocks import Block, Marks, Missing, Text
from studies.report.facts import ReportFacts
from studies.report.wording import around, counted
from studies.results.analysis import by_method, lost_fidelity, methods_of
from studies.results.statistics import mean

__all__ = ["summary"]


def summary(facts: ReportFacts) -> list[Block]:
    """Summarise the page in a few sentences, with warnings."""
    if not facts.studies and facts.catalog_study is not None:
        return [Text("One setting was looked for that suits all images; none was tuned by itself.")]
    if not facts.studies:
        others = ", ".join(facts.other_prefixes)
        there = f" It holds studies of {others}: name one with --study." if others else ""
        none = f"The storage has no study '{facts.prefix}/…'."
        return [Missing(f"{none}{there} Run lime-tuner tune.")]
    done = [study for study in facts.studies if study.overview.best_score is not None]
    trials = sum(study.overview.finished for study in facts.studies)
    first = facts.studies[0].attributes
    model = first.get("classifier", {}).get("name", "an unknown classifier")
    rules = sorted(
        {str(study.attributes.get("reference", {}).get("rule", "")) for study in facts.studies}
        - {""}
    )
    goal = f"the IoU with the reference {', '.join(rules) or 'that was given'}"
    if first.get("objective") == "faithful":
        goal = "how faithful explanations are to the classifier"
    blocks: list[Block] = [
        Text(
            f"LIME's parameters were tuned for {len(done)} of {len(facts.studies)} images in "
            f"{trials} finished trials on {model}, scored by {goal} minus a penalty for "
            "runtime."
        )
    ]
    both = [
        s.overview
        for s in done
        if s.overview.default_iou is not None and s.overview.best_iou is not None
    ]
    if both:
        baseline, tuned = (
            mean([getattr(o, name) for o in both]) for name in ("default_iou", "best_iou")
        )
        seconds = [
            mean([getattr(o, name) for o in both]).mean
            for name in ("default_seconds", "best_seconds")
        ]
        blocks.append(
            Text(
                f"Mean IoU rose from {around(baseline)} with lime's defaults to {around(tuned)} "
                f"({counted(len(both), 'image')}; 95 % bootstrap intervals), at "
                f"{seconds[1]:.2f} s instead of {seconds[0]:.2f} s an explanation by the runtime "
                "model. These are the studies' own figures, on the seeds that chose the winners."
            )
        )
    waiting = [study.key for study in facts.studies if study.overview.best_score is None]
    if waiting:
        blocks.append(Text(f"No trial is complete yet for {', '.join(waiting)}."))
    run = facts.comparison
    if run is not None and LIME_TUNED in methods_of(run):
        found = by_method(run)
        before, after = found[LIME_DEFAULT], found[LIME_TUNED]
        blocks.append(
            Text(
                f"Explained again by stock lime with a fresh seed, on the clock: IoU "
                f"{around(before['iou'])} with the defaults and {around(after['iou'])} tuned, "
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
