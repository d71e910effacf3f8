"""The report's tables as CSV: plain names, full precision that does not depend on the machine."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from explainers.metrics import MEASURES
from studies.analysis import agreement_matrix, by_complexity, by_type, methods_of
from studies.best_trial import trial_score
from studies.records import ComparisonRun
from studies.report.facts import ReportFacts

__all__ = ["all_tables", "write_tables"]

Table = tuple[Sequence[str], list[Sequence[object]]]


def all_tables(facts: ReportFacts) -> dict[str, Table]:
    """Header and rows by file name without suffix; only those there are data for."""
    found: dict[str, Table] = {}
    if facts.studies:
        found["studies"] = _studies(facts)
        found["parameters"] = _parameters(facts)
        found["trials"] = _trials(facts)
    if facts.comparison is not None:
        found |= {
            "measures": _measures(facts.comparison),
            "agreement": _agreement(facts.comparison),
            "top_classes": _top_classes(facts.comparison),
            "types": _types(facts.comparison),
            "complexity": _complexity(facts.comparison),
        }
    return found


def write_tables(tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Write tables by file name without suffix; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (header, rows) in tables.items():
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([[_cell(value) for value in row] for row in rows])
        path = folder / f"{name}.csv"
        path.write_text(buffer.getvalue(), encoding="utf-8")
        written.append(path)
    return written


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    # Ten digits are more than anything here is known to, and do not show how sums were ordered.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _studies(facts: ReportFacts) -> Table:
    header = (
        "image", "trials", "pruned", "default_iou", "best_iou", "default_seconds", "best_seconds",
        "best_score", "reliability",
    )  # fmt: skip
    rows: list[Sequence[object]] = []
    for study in facts.studies:
        view = study.overview
        rows.append(
            (
                study.key, view.finished, view.trials.get("PRUNED", 0), view.default_iou,
                view.best_iou, view.default_seconds, view.best_seconds, view.best_score,
                view.reliability,
            )
        )  # fmt: skip
    return header, rows


def _parameters(facts: ReportFacts) -> Table:
    documents = {
        study.key: json.loads(study.parameters) for study in facts.studies if study.parameters
    }
    names = sorted({name for document in documents.values() for name in document})
    return ("image", *names), [
        (key, *(_plain(document.get(name)) for name in names))
        for key, document in documents.items()
    ]


def _plain(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value


def _trials(facts: ReportFacts) -> Table:
    header = ("image", "trial", "state", "score", "iou", "runtime_seconds", "superpixels", "reason")
    rows: list[Sequence[object]] = [
        (
            study.key, trial.number, trial.state.name, trial_score(trial, study.weight),
            trial.user_attrs.get("iou"),
            trial.user_attrs.get("runtime_seconds"), trial.user_attrs.get("superpixels"),
            trial.user_attrs.get("reason", ""),
        )
        for study in facts.studies
        for trial in study.trials
    ]  # fmt: skip
    return header, rows


def _measures(run: ComparisonRun) -> Table:
    rows: list[Sequence[object]] = [
        (image.key, image.type, each.explanation.method, *(each.measures.get(m) for m in MEASURES))
        for image in run.images
        for each in image.comparison.explanations
    ]
    return ("image", "type", "method", *MEASURES), rows


def _agreement(run: ComparisonRun) -> Table:
    matrix, methods = agreement_matrix(run), methods_of(run)
    rows: list[Sequence[object]] = [
        (a, b, matrix[a, b].mean, matrix[a, b].low, matrix[a, b].high, matrix[a, b].size)
        for a, b in _pairs(methods)
    ]
    return ("first", "second", "iou", "low", "high", "images"), rows


def _pairs(methods: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((a, b) for n, a in enumerate(methods) for b in methods[n + 1 :])


def _top_classes(run: ComparisonRun) -> Table:
    rows: list[Sequence[object]] = [
        (image.key, place + 1, name, probability)
        for image in run.images
        for place, (name, (_, probability)) in enumerate(
            zip(image.class_names, image.comparison.facts.top_classes, strict=True)
        )
    ]
    return ("image", "place", "class", "probability"), rows


def _types(run: ComparisonRun) -> Table:
    header = (
        "method", "animate", "animate_low", "animate_high", "animate_images", "inanimate",
        "inanimate_low", "inanimate_high", "inanimate_images", "difference", "p", "exact",
    )  # fmt: skip
    rows: list[Sequence[object]] = [
        (
            row.method, row.animate.mean, row.animate.low, row.animate.high, row.animate.size,
            row.inanimate.mean, row.inanimate.low, row.inanimate.high, row.inanimate.size,
            row.test.difference, row.test.p, row.test.exact,
        )
        for row in by_type(run)
    ]  # fmt: skip
    return header, rows


def _complexity(run: ComparisonRun) -> Table:
    rows: list[Sequence[object]] = [
        (t.method, t.complexity, t.found.rho, t.found.p, t.found.exact, t.found.size)
        for t in by_complexity(run)
    ]
    return ("method", "complexity", "rho", "p", "exact", "images"), rows
