"""The summary at the end of ``lime-tuner tune``: the best of every image and lime's defaults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import optuna

from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.results.explained_class import ExplainedClass, classes_line
from studies.results.fidelity import compromise_lines
from studies.results.runtime_doubt import doubtful_seconds
from studies.results.summary import image_document, studies_document
from studies.storage import open_storage
from tuner.cli.output import console, rounded, table

__all__ = ["compromises_in", "show_summary", "summary_of"]

_AGREEMENT: dict[str, Callable[[dict[str, Any]], float]] = {"IoU": lambda document: document["iou"]}
_EXPLAINS: dict[str, Callable[[dict[str, Any]], float]] = {
    "R²": lambda document: _measured(document, "r2"),
    "ins − del": lambda document: _measured(document, "gain"),
}
"""Columns beside the seconds, by title."""


def summary_of(storage: str, prefix: str, keys: list[str]) -> dict[str, Any]:
    """The document of ``tune --json``, from the stored studies."""
    opened = open_storage(storage, write=False)
    images: dict[str, dict[str, Any]] = {}
    for key in keys:
        document = image_document(optuna.load_study(study_name=f"{prefix}/{key}", storage=opened))
        if document["best"] is None:
            raise InvalidInput(f"study '{prefix}/{key}' has no finished trial yet")
        images[key] = document | {"default": document["default"] or document["best"]}
    return studies_document(prefix, images)


def show_summary(summary: dict[str, Any]) -> None:
    """Show the summary as a table: scores on tuning seeds, modelled seconds."""
    images = summary["images"].values()
    best = [document["best"] for document in images]
    judged = any("faithful" in each or "fidelity" in each for each in best)
    faithful = judged and all("faithful" in each for each in best)
    of_reference = [
        (title, field)
        for title, field in (("share", "coverage"), ("reliability", "reliability"))
        if any(document.get(field) is not None for document in images)
    ]
    measures = {**({} if faithful else _AGREEMENT), **(_EXPLAINS if judged else {})}
    shown = table(
        f"{summary['study']}: best against lime's defaults (tuning seeds, modelled seconds)",
        "image", "trials",
        *(f"{which} {name}" for name in measures for which in ("default", "best")),
        "default s", "best s", *(title for title, _ in of_reference),
        leave_out=("share", "reliability", "default s", "trials"),
    )  # fmt: skip
    rows = []
    for key, document in summary["images"].items():
        pair = (document["default"], document["best"])
        values = [read(each) for read in measures.values() for each in pair]
        rows.append([*values, *(each["runtime_seconds"] for each in pair)])
        shown.add_row(
            key, str(document["trials"]), *_cells(rows[-1]),
            *(rounded(document.get(field), 2) for _, field in of_reference),
        )  # fmt: skip
    shown.add_section()
    means = [_mean(column) for column in zip(*rows, strict=True)]
    shown.add_row("mean", "", *_cells(means))
    console.print(shown)
    usual = [key for key, document in summary["images"].items() if _is_usual(document["best"])]
    if usual:
        console.print(f"nothing was better than lime's defaults: {', '.join(usual)}", markup=False)
    for line in compromises_in(summary):
        console.print(line, markup=False)
    for line in doubtful_seconds({k: i["runtime_doubt"] for k, i in summary["images"].items()}):
        console.print(line)
    console.print(
        classes_line(
            {
                key: None if document["class"] is None else ExplainedClass(**document["class"])
                for key, document in summary["images"].items()
            }
        ),
        markup=False,
    )


def compromises_in(summary: dict[str, Any]) -> list[str]:
    """A line that names the images whose best is a compromise; none where there is none."""
    return compromise_lines(
        [k for k, d in summary["images"].items() if d["best"].get("compromise")]
    )


def _is_usual(best: dict[str, Any]) -> bool:
    return LimeParameters.from_json(json.dumps(best["parameters"])).are_default


def _measured(document: dict[str, Any], name: str) -> float:
    # A classifier that always answers the same has no R².
    value = (document.get("faithful") or document.get("fidelity") or {}).get(name)
    return math.nan if value is None else float(value)


def _mean(column: Sequence[float]) -> float:
    known = [value for value in column if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _cells(values: list[float]) -> list[str]:
    digits = [3] * (len(values) - 2) + [2] * 2  # the last two are seconds
    pairs = zip(values, digits, strict=False)
    return ["" if math.isnan(value) else f"{value:.{places}f}" for value, places in pairs]
