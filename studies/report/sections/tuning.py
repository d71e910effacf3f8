"""Sections on the studies' results, their search and their best parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from explainers.machine_load import busy_sentence
from explainers.metrics import LIME_DEFAULT, LIME_TUNED
from studies.records import VerifiedImage
from studies.report.blocks import Block, Chart, Missing, Table, Text
from studies.report.charts import figures
from studies.report.charts.drawing import draw
from studies.report.facts import ReportFacts, StudyFacts
from studies.report.search import FEWEST_FOR_IMPORTANCE, histories, judged_trials
from studies.report.wording import around, counted, in_columns, number, sentence
from studies.results.runtime_doubt import doubtful_seconds
from studies.results.statistics import mean

__all__ = ["chosen_parameters", "constraint", "iou_per_image", "search", "verified"]


def iou_per_image(facts: ReportFacts) -> list[Block]:
    """Show IoU and seconds of lime's defaults and of the best trials, as the studies have them."""
    rows = [
        (study.key, study.overview.default_iou, study.overview.best_iou)
        for study in facts.studies
        if study.overview.best_iou is not None
    ]
    if not rows:
        scored = any(study.overview.best_score is not None for study in facts.studies)
        why = (
            "These studies have no reference: see Faithfulness."
            if scored
            else "No study has a complete trial yet."
        )
        return [Missing(why)]
    better = sum(
        best > baseline for _, baseline, best in rows if baseline is not None and best is not None
    )
    chart = Chart(
        draw(
            "iou_per_image", figures.dumbbells, rows, "IoU with the reference",
            (LIME_DEFAULT, LIME_TUNED),
        ),
        f"IoU per image with lime's defaults and tuned; tuned is better for {better} of "
        f"{len(rows)}. The table below has the figures.",
        f"IoU of the studies' own trials; tuned is better for {better} of {len(rows)} images.",
    )  # fmt: skip
    columns: dict[str, Callable[[StudyFacts], str]] = {
        "image": lambda s: s.key,
        "IoU, defaults": lambda s: number(s.overview.default_iou),
        "IoU, tuned": lambda s: number(s.overview.best_iou),
        "s, defaults": lambda s: number(s.overview.default_seconds, 2),
        "s, tuned": lambda s: number(s.overview.best_seconds, 2),
        "trials": lambda s: str(s.overview.finished),
        "reliability": lambda s: number(s.overview.reliability, 2),
    }
    caption = "The studies' own figures; seconds by the runtime model"
    doubts = doubtful_seconds({s.key: s.overview.runtime_doubt for s in facts.studies})
    return [
        chart,
        Table(caption, *in_columns(facts.studies, columns)),
        *(Text(sentence(doubt)) for doubt in doubts),
    ]


_OBJECT: Mapping[str, Callable[[tuple[StudyFacts, VerifiedImage]], str]] = {
    "object, defaults": lambda pair: number((pair[1].defaults or {}).get("object_iou")),
    "object, tuned": lambda pair: number(pair[1].found.get("object_iou")),
}
"""Columns of IoU with the catalogue's own masks."""


def verified(facts: ReportFacts) -> list[Block]:
    """Show the best parameters run by stock lime on seeds that the search never used."""
    done = [(s, s.verified) for s in facts.studies if s.verified is not None]
    if not done:
        return [
            Missing(
                "No verification of these parameters is recorded: run lime-tuner export and "
                "lime-tuner verify."
            )
        ]
    verified_images = [each for _, each in done]
    ious = mean([each.found["iou"] for each in verified_images])
    text = (
        f"Stock lime in fresh processes, on fresh seeds, by the clock: IoU {around(ious)} in "
        f"{mean([each.found['time'] for each in verified_images]).mean:.2f} s"
    )
    baseline = [each.defaults for each in verified_images if each.defaults is not None]
    if baseline:
        before = mean([each["iou"] for each in baseline])
        seconds = mean([each["time"] for each in baseline]).mean
        text += f"; with lime's defaults {around(before)} in {seconds:.2f} s"
    text += f" ({counted(len(verified_images), 'image')})."
    # The difference to the studies' IoU is luck only if both used the same reference masks.
    rules = [str(s.attributes.get("reference", {}).get("rule", "")) for s, _ in done]
    if rules == [each.reference for each in verified_images]:
        own = mean([study.overview.best_iou or 0.0 for study, _ in done]).mean
        text += f" In their studies it was {own:.3f}; {own - ious.mean:+.3f} of that is luck."
    columns: dict[str, Callable[[tuple[StudyFacts, VerifiedImage]], str]] = {
        "image": lambda pair: pair[0].key,
        "IoU, defaults": lambda pair: number((pair[1].defaults or {}).get("iou")),
        "IoU, tuned": lambda pair: number(pair[1].found["iou"]),
        "± seeds": lambda pair: number(pair[1].found["iou_std"]),
        **(_OBJECT if any("object_iou" in each.found for each in verified_images) else {}),
        "in its study": lambda pair: number(pair[0].overview.best_iou),
        "s, defaults": lambda pair: number((pair[1].defaults or {}).get("time"), 2),
        "s, tuned": lambda pair: number(pair[1].found["time"], 2),
        "seeds": lambda pair: str(pair[1].seeds),
        "reference": lambda pair: pair[1].reference,
    }
    shares = [each.others_share for each in verified_images if each.others_share is not None]
    busy = busy_sentence(max(shares, default=None))
    return [
        Text(text),
        Table("Stock lime, by the clock", *in_columns(done, columns), (len(columns) - 1,)),
        *([] if busy is None else [Text(sentence(busy))]),
    ]


def constraint(facts: ReportFacts) -> list[Block]:
    """Show what the best settings explain beside lime's defaults, and what a constraint costs."""
    judged = [s for s in facts.studies if s.overview.best_fidelity is not None]
    if not judged:
        return [
            Missing(
                "It was not measured: the studies were made without a constraint "
                "(lime-tuner tune --constrain none)."
            )
        ]
    names = sorted({name for s in judged for name in s.attributes.get("constraints", ())})
    less = [s.key for s in judged if s.overview.compromise]
    text = (
        f"Constraint: {', '.join(names) or 'none'}. Of {counted(len(judged), 'best setting')} "
        + (f"{len(less)} explain less than it allows: {', '.join(less)}." if less else
           "none explains less than it allows.")
    )  # fmt: skip
    costs = {s.key: cost for s in judged if (cost := s.constraint) is not None}
    if costs:
        free, kept = (mean([getattr(c, n) for c in costs.values()]) for n in ("free_iou", "iou"))
        text += (
            f" IoU is {around(kept)}; what was refused reached {around(free)}, and without the "
            "constraint the search may find more."
        )

    def measured(which: str, name: str) -> Callable[[StudyFacts], str]:
        return lambda s: number(getattr(getattr(s.overview, f"{which}_fidelity"), name, None), 2)

    columns: dict[str, Callable[[StudyFacts], str]] = {
        "image": lambda s: s.key,
        **{
            f"{title}, {called}": measured(which, name)
            for title, name in (("R²", "r2"), ("ins − del", "gain"))
            for called, which in (("defaults", "default"), ("tuned", "best"))
        },
        "IoU, tuned": lambda s: number(s.overview.best_iou),
        "IoU, refused": lambda s: number(costs[s.key].free_iou) if s.key in costs else "",
        "refused": lambda s: str(costs[s.key].refused) if s.key in costs else "",
        "why the best of these": lambda s: costs[s.key].reason if s.key in costs else "",
    }
    caption = "What is explained: held-out R² of the surrogate, insertion minus deletion area"
    return [Text(text), *_trade_off(facts), Table(caption, *in_columns(judged, columns), (8,))]


def _trade_off(facts: ReportFacts) -> list[Block]:
    """A chart of agreement against faithfulness; nothing without a constraint."""
    points = {s.key: found for s in facts.studies if len(found := judged_trials(s)) > 1}
    if not points:
        return []
    return [
        Chart(
            draw("trade_off", figures.trade_offs, points),
            "IoU against insertion minus deletion of the measured trials of "
            f"{counted(len(points), 'image')}; the table below has the defaults' and the best "
            "trials' figures.",
            "Agreement with the reference against insertion minus deletion: lime's defaults "
            "(circle), trials that were about to win (dots), the best (diamond). Higher and "
            "further right is better.",
        )
    ]


def search(facts: ReportFacts, importance: Mapping[str, float]) -> list[Block]:
    """Show scores over trials, and the importance of parameters.

    Args:
        importance: result of :func:`studies.report.search.importances`.
    """
    scores = {key: values for key, values in histories(facts).items() if values}
    if not scores:
        return [Missing("No trial is finished yet.")]
    blocks: list[Block] = [
        Chart(
            draw("search", figures.study_histories, scores),
            f"Best score so far over trials for {len(scores)} studies.",
            "The line is the best score so far, points are complete trials; trials that were "
            "stopped early have no point.",
        )
    ]
    if importance:
        first = max(importance, key=lambda name: importance[name])
        blocks.append(
            Chart(
                draw("importance", figures.importance_bars, importance),
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


def chosen_parameters(facts: ReportFacts) -> list[Block]:
    """List the parameters of the best trials."""
    chosen = {s.key: json.loads(s.parameters) for s in facts.studies if s.parameters}
    if facts.catalog_study is not None and facts.catalog_study.best is not None:
        chosen["all images"] = json.loads(facts.catalog_study.best.parameters.to_json())
    if not chosen:
        return [Missing("No study has a complete trial yet.")]
    names = (
        "segmentation", "hide_color", "num_samples", "num_features", "distance_metric",
        "regressor", "top_labels", "batch_size",
    )  # fmt: skip
    rows = [[key, *(_word(document.get(n)) for n in names)] for key, document in chosen.items()]
    return [
        Table(
            "What the best trial of each study used; 'default' leaves it to lime",
            ["image", *(name.replace("_", " ") for name in names)],
            rows,
            tuple(range(1, len(names) + 1)),
        )
    ]


def _word(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, dict):
        inner = dict(value)
        kind = inner.pop("algorithm", None) or inner.pop("name", "")
        return f"{kind}({', '.join(f'{k}={v:g}' for k, v in inner.items())})"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return str(value)
