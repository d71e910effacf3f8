"""Sections on studies with other objectives than the IoU of one image minus its runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from explainers.metrics import Faithfulness
from studies.report.blocks import Block, Chart, Marks, Table, Text
from studies.report.charts import figures
from studies.report.charts.drawing import draw
from studies.report.facts import ReportFacts
from studies.report.wording import around, counted, in_columns, number
from studies.results.attributes import TRANSFER
from studies.results.statistics import Interval, mean

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["faithfulness", "fronts", "one_setting"]

_MEASURES = {"R²": "r2", "gain": "gain", "stability": "stability"}


def one_setting(facts: ReportFacts) -> list[Block]:
    """Show one setting for all images (``tune --scope catalog``); empty without such a study."""
    study = facts.catalog_study
    best = None if study is None else study.best
    if study is None or best is None:
        return []
    ious_by_image, baseline = _per_image(study.best_trial), _per_image(study.default_trial)
    areas: Mapping[str, float] = study.attributes.get("reference_areas", {})
    ious, shares = mean(list(ious_by_image.values())), mean(list(areas.values()))
    text = (
        f"One setting for {counted(len(ious_by_image), 'image')}, chosen by the "
        f"{study.attributes.get('aggregate', 'mean')} in {study.overview.finished} trials: IoU "
        f"{around(ious)}"
    )
    default = study.default
    if default is not None:
        text += (
            f", {around(mean(list(baseline.values())))} with lime's defaults, in "
            f"{best.runtime_seconds:.2f} s instead of {default.runtime_seconds:.2f} s an "
            "explanation by the runtime model"
        )
    text += ". Marking every whole picture has the IoU of its reference's share."
    blocks: list[Block] = [Text(text)]
    if areas and ious.mean <= shares.mean:
        mark = f"Marking every whole picture would have an IoU of {shares.mean:.3f}, no less."
        if study.attributes.get("aggregate", "mean") == "mean":
            mark += (
                " lime-tuner tune --scope catalog --aggregate q25 looks for a setting that is "
                "good where references are small."
            )
        blocks.append(Marks([mark]))
    transfer = study.attributes.get(TRANSFER)
    if transfer:
        left_out, gap = (Interval(**transfer[name]) for name in ("left_out", "gap"))
        blocks.append(
            Text(
                f"On images that had no say in it ({transfer['folds']} folds, fresh seeds) such a "
                f"setting has {around(left_out)}; the gap is {around(gap)}."
            )
        )
    columns: dict[str, Callable[[str], str]] = {
        "image": str,
        "reference's share": lambda key: number(areas.get(key)),
        "IoU, defaults": lambda key: number(baseline.get(key)),
        "IoU": lambda key: number(ious_by_image[key]),
    }
    return [
        *blocks,
        Table("The setting on each image", *in_columns(sorted(ious_by_image), columns)),
    ]


def _per_image(trial: FrozenTrial | None) -> Mapping[str, float]:
    return {} if trial is None else trial.user_attrs.get("iou_per_image", {})


def fronts(facts: ReportFacts) -> list[Block]:
    """Show Pareto fronts (``tune --pareto``); empty where no study has two objectives."""
    by_image = {s.key: s.overview.front for s in facts.studies if s.overview.front}
    if not by_image:
        return []
    points = {
        key: [(point.runtime_seconds, point.iou) for point in front]
        for key, front in by_image.items()
    }
    fastest, best = (
        [front[place].runtime_seconds for front in by_image.values()] for place in (0, -1)
    )
    chart = Chart(
        draw("fronts", figures.fronts, points),
        f"IoU against seconds of the trials that no other beats in both, for "
        f"{counted(len(by_image), 'image')}. The table below has the figures.",
        f"Pareto fronts: from {min(fastest):.2g} s to {max(best):.2g} s an explanation by the "
        "runtime model. lime-tuner export --budget SECONDS or --weight W chooses on them.",
    )
    rows = [
        [key, str(point.number), number(point.runtime_seconds), number(point.iou)]
        for key, front in by_image.items()
        for point in front
    ]
    return [chart, Table("On the fronts", ["image", "trial", "seconds", "IoU"], rows)]


def faithfulness(facts: ReportFacts) -> list[Block]:
    """Show studies without a reference (``tune --objective faithful``); empty without any."""
    compared = [
        (study, best, best.faithful, None if study.default is None else study.default.faithful)
        for study in facts.studies
        if (best := study.best) is not None and best.faithful is not None
    ]
    if not compared:
        return []
    pairs = [(baseline, own) for _, _, own, baseline in compared if baseline is not None]
    blocks: list[Block] = []
    if pairs:
        better = sum(own.r2 > baseline.r2 and own.gain > baseline.gain for baseline, own in pairs)
        blocks.append(
            Text(
                "Scored by how well the explanation describes the classifier: R² on perturbations "
                "it was not fitted to, insertion minus deletion (gain), and the agreement of the "
                f"masks of several seeds (stability). R² is {_change(pairs, 'r2')} and insertion "
                f"minus deletion {_change(pairs, 'gain')}; both are better on {better} of "
                f"{counted(len(pairs), 'image')}. These are the studies' own figures, on the seeds "
                "that chose the winners."
            )
        )
    rows = []
    for study, best, own, baseline in compared:
        measures = [
            number(None if each is None else getattr(each, name))
            for name in _MEASURES.values()
            for each in (baseline, own)
        ]
        seconds = (study.overview.default_seconds, best.runtime_seconds)
        rows.append([study.key, *measures, *(number(each, 2) for each in seconds)])
    header = [
        "image", *(f"{name}, {which}" for name in _MEASURES for which in ("lime", "tuned")),
        "s, lime", "s, tuned",
    ]  # fmt: skip
    return [*blocks, Table("Without a reference", header, rows)]


def _change(pairs: Sequence[tuple[Faithfulness, Faithfulness]], name: str) -> str:
    baseline, own = (mean([getattr(pair[place], name) for pair in pairs]) for place in (0, 1))
    return f"{around(own)} instead of {around(baseline)}"
