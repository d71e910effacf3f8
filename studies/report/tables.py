"""The report's tables as CSV, with plain names and ten digits."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from explainers.metrics import MEASURES
from studies.records import ComparisonRun
from studies.report.facts import ReportFacts
from studies.report.wording import in_columns
from studies.results.analysis import agreement_matrix, by_complexity, by_type, methods_of
from studies.results.best_trial import trial_score

__all__ = ["all_tables", "write_tables"]

Table = tuple[Sequence[str], Sequence[Sequence[object]]]


def all_tables(facts: ReportFacts) -> dict[str, Table]:
    """Return header and rows by file name without suffix, of all tables that have data."""
    of_studies = _of_studies(facts) if facts.studies else {}
    return of_studies | ({} if facts.comparison is None else _of_comparison(facts.comparison))


def write_tables(tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Write tables, given by file name without suffix, and return their paths."""
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
    # Ten digits are precise enough, and do not depend on the order in which floats were summed.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _of_studies(facts: ReportFacts) -> dict[str, Table]:
    chosen = {s.key: json.loads(s.parameters) for s in facts.studies if s.parameters}
    names = sorted({name for document in chosen.values() for name in document})
    parameters = [[key, *(_plain(d.get(name)) for name in names)] for key, d in chosen.items()]
    trials = [(study, trial) for study in facts.studies for trial in study.trials]
    return {
        "studies": in_columns(
            facts.studies,
            {
                "image": lambda s: s.key,
                "trials": lambda s: s.overview.finished,
                "pruned": lambda s: s.overview.trials.get("PRUNED", 0),
                "default_iou": lambda s: s.overview.default_iou,
                "best_iou": lambda s: s.overview.best_iou,
                "default_seconds": lambda s: s.overview.default_seconds,
                "best_seconds": lambda s: s.overview.best_seconds,
                "best_score": lambda s: s.overview.best_score,
                "reliability": lambda s: s.overview.reliability,
            },
        ),
        "parameters": (["image", *names], parameters),
        "trials": in_columns(
            trials,
            {
                "image": lambda pair: pair[0].key,
                "trial": lambda pair: pair[1].number,
                "state": lambda pair: pair[1].state.name,
                "score": lambda pair: trial_score(pair[1], pair[0].weight),
                "iou": lambda pair: pair[1].user_attrs.get("iou"),
                "runtime_seconds": lambda pair: pair[1].user_attrs.get("runtime_seconds"),
                "superpixels": lambda pair: pair[1].user_attrs.get("superpixels"),
                "reason": lambda pair: pair[1].user_attrs.get("reason", ""),
            },
        ),
    }


def _plain(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value


def _of_comparison(run: ComparisonRun) -> dict[str, Table]:
    measures = [
        [image.key, image.type, each.explanation.method, *(each.measures.get(m) for m in MEASURES)]
        for image in run.images
        for each in image.comparison.explanations
    ]
    matrix = agreement_matrix(run)
    classes = [
        [image.key, place, name, probability]
        for image in run.images
        for place, (name, (_, probability)) in enumerate(
            zip(image.class_names, image.comparison.facts.top_classes, strict=True), start=1
        )
    ]
    return {
        "measures": (["image", "type", "method", *MEASURES], measures),
        "agreement": in_columns(
            combinations(methods_of(run), 2),
            {
                "first": lambda pair: pair[0],
                "second": lambda pair: pair[1],
                "iou": lambda pair: matrix[pair].mean,
                "low": lambda pair: matrix[pair].low,
                "high": lambda pair: matrix[pair].high,
                "images": lambda pair: matrix[pair].size,
            },
        ),
        "top_classes": (["image", "place", "class", "probability"], classes),
        "types": in_columns(
            by_type(run),
            {
                "method": lambda row: row.method,
                "animate": lambda row: row.animate.mean,
                "animate_low": lambda row: row.animate.low,
                "animate_high": lambda row: row.animate.high,
                "animate_images": lambda row: row.animate.size,
                "inanimate": lambda row: row.inanimate.mean,
                "inanimate_low": lambda row: row.inanimate.low,
                "inanimate_high": lambda row: row.inanimate.high,
                "inanimate_images": lambda row: row.inanimate.size,
                "difference": lambda row: row.test.difference,
                "p": lambda row: row.test.p,
                "exact": lambda row: row.test.exact,
            },
        ),
        "complexity": in_columns(
            by_complexity(run),
            {
                "method": lambda trend: trend.method,
                "complexity": lambda trend: trend.complexity,
                "rho": lambda trend: trend.found.rho,
                "p": lambda trend: trend.found.p,
                "exact": lambda trend: trend.found.exact,
                "images": lambda trend: trend.found.size,
            },
        ),
    }
