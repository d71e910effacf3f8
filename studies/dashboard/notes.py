"""A study on one page of Markdown: pictures, numbers, and the best parameters as Python."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explainers.metrics import Faithfulness
from explainers.references import Reliability  # imports torch, which only tuning needs
from studies.dashboard.pictures import legend
from studies.export import parameter_code
from studies.results.fidelity import Fidelity
from studies.results.runtime_doubt import runtime_doubt
from studies.results.trial_record import TrialRecord

__all__ = ["ScoredTrial", "study_note"]

_GAP = "&emsp;"  # the dashboard gives tables no padding
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~$])")


@dataclass(frozen=True)
class ScoredTrial:
    """A finished trial with its score and its stored result."""

    number: int
    score: float
    record: TrialRecord

    @property
    def iou(self) -> float:
        """Mean IoU over the trial's seeds, in [0, 1]."""
        return self.record.iou

    @property
    def quality(self) -> float:
        """The score before the penalty for runtime: IoU, or faithfulness where it is scored."""
        return self.record.iou if self.record.faithful is None else self.record.faithful.value

    @property
    def runtime_seconds(self) -> float:
        """Seconds of one explanation by the runtime model."""
        return self.record.runtime_seconds


def study_note(
    attributes: Mapping[str, Any],
    best: ScoredTrial,
    default: ScoredTrial | None,
    *,
    finished: int,
    stopped: int,
    pictures: Mapping[str, str],
    front: Sequence[ScoredTrial] = (),
) -> str:
    """Write the note with a study's results so far.

    Args:
        attributes: the study's user attributes.
        default: the trial of lime's own defaults; ``None`` before it is finished.
        finished: number of trials with a result, including the pruned ones.
        stopped: number of pruned trials.
        pictures: path by title, in order; may be empty.
        front: Pareto front of a study with two objectives, fastest first.

    Returns:
        Markdown.
    """
    parts = [
        f"## {_text(attributes.get('image_key') or 'image')}: {_headline(best, default)}",
        _gallery(pictures, has_reference=not math.isnan(best.record.iou)),
        _numbers(best, default),
        _front(front),
        _facts(attributes, best.record, finished, stopped),
        f"```python\n{parameter_code(best.record.parameters, attributes)}\n```",
    ]
    return "\n\n".join(part for part in parts if part)


def _headline(best: ScoredTrial, default: ScoredTrial | None) -> str:
    what = "IoU" if best.record.faithful is None else "faithfulness"
    headline = f"{what} {best.quality:.2f} in {_number(best.record.runtime_seconds, 2)} s"
    if default is None:
        return headline
    seconds = _number(default.record.runtime_seconds, 2)
    return f"{headline}; lime's defaults {default.quality:.2f} in {seconds} s"


def _gallery(pictures: Mapping[str, str], *, has_reference: bool) -> str:
    if not pictures:
        return ""
    titles = [_text(title) for title in pictures]
    shown = [f"![{title}]({path})" for title, path in zip(titles, pictures.values(), strict=True)]
    colours = legend(has_reference=has_reference)
    return f"{_row(titles)}\n{_row(['---'] * len(titles))}\n{_row(shown)}\n\n*{colours}*"


def _numbers(best: ScoredTrial, default: ScoredTrial | None) -> str:
    columns = [best] if default is None else [best, default]
    records = [each.record for each in columns]
    rows = [
        ["", f"{_GAP}best (trial {best.number})", f"{_GAP}lime's defaults"][: 1 + len(columns)],
        ["---", *["---:" for _ in columns]],
        *_qualities(records),
        ["seconds, by the runtime model", *[_number(r.runtime_seconds, 3) for r in records]],
        ["relative to the defaults' seconds", *[_number(r.runtime_ratio, 3) for r in records]],
        ["score", *[f"{each.score:.3f}" for each in columns]],
        ["superpixels", *[str(r.superpixels) for r in records]],
    ]
    return "\n".join(_row(row) for row in rows)


def _qualities(records: Sequence[TrialRecord]) -> list[list[str]]:
    """Rows of the measures that the score is made of."""
    rows = []
    if not any(math.isnan(record.iou) for record in records):
        rows.append(["IoU with the reference", *[_spread(record) for record in records]])
    fidelity = [record.fidelity for record in records]
    if any(fidelity):
        rows += [
            ["held-out R² of the surrogate", *[_measured(each, "r2") for each in fidelity]],
            ["insertion − deletion", *[_measured(each, "gain") for each in fidelity]],
            ["share of the picture marked", *[_measured(each, "marked") for each in fidelity]],
            ["effective samples", *[_measured(each, "effective_samples", 1) for each in fidelity]],
        ]
    faithful = [record.faithful for record in records if record.faithful is not None]
    if len(faithful) == len(records):
        rows += [
            ["agreement of the seeds' masks", *[_agreement(each) for each in faithful]],
            ["faithfulness, their mean", *[f"{each.value:.3f}" for each in faithful]],
        ]
    return rows


def _measured(fidelity: Fidelity | None, name: str, digits: int = 3) -> str:
    value = getattr(fidelity, name, None)
    return "" if value is None else f"{value:.{digits}f}"


def _agreement(faithfulness: Faithfulness) -> str:
    return "" if math.isnan(faithfulness.stability) else f"{faithfulness.stability:.3f}"


def _front(front: Sequence[ScoredTrial]) -> str:
    if not front:
        return ""
    rows = [
        ["on the Pareto front", f"{_GAP}seconds", f"{_GAP}IoU"],
        ["---", "---:", "---:"],
        *[
            [f"trial {each.number}", _number(each.runtime_seconds, 3), _spread(each.record)]
            for each in front
        ],
    ]
    chooses = "*lime-tuner export --budget SECONDS or --weight W chooses another of these.*"
    return "\n".join(_row(row) for row in rows) + f"\n\n{chooses}"


def _spread(record: TrialRecord) -> str:
    seeds = len(record.seeds)
    if seeds == 1:
        return f"{record.iou:.3f} (1 seed)"
    return f"{record.iou:.3f} ± {record.iou_std:.3f} ({seeds} seeds)"


def _facts(attributes: Mapping[str, Any], best: TrialRecord, finished: int, stopped: int) -> str:
    faithful, has_reference = best.faithful, not math.isnan(best.iou)
    lead = "" if faithful is None else ", and what is missing to a clear lead over lime's defaults"
    classifier = attributes.get("classifier") or {}
    lines = [
        f"{finished} trials, {stopped} of them stopped early; the score is the "
        f"{'IoU' if faithful is None else 'faithfulness'} less "
        f"{attributes.get('runtime_weight', 0.1):g} × relative seconds{lead}.",
    ]
    if has_reference:
        lines.append(f"Reference: {_reference(attributes.get('reference') or {})}")
    if attributes.get("class_name"):
        probability = attributes.get("probability")
        certain = "" if probability is None else f" ({probability:.0%})"
        lines.append(
            f"Class: {_text(attributes['class_name'])}{certain}, by "
            f"{_text(classifier.get('name') or 'the classifier')}."
        )
    doubt = runtime_doubt(attributes.get("runtime_model"))
    if doubt is not None:
        lines.append(f"The seconds are **not to be trusted**: {_text(doubt)}.")
    if attributes.get("constraints"):
        allowed = ", ".join(f"`{_text(each)}`" for each in attributes["constraints"])
        lines.append(
            f"Constraint: {allowed}, so what explains less than lime's defaults loses score."
        )
    if best.compromise:
        lines.append(
            "The best is **a compromise**: it explains less than lime's defaults by more than the "
            "constraint allows."
        )
    return "\n".join(f"- {line}" for line in lines)


def _reference(reference: Mapping[str, Any]) -> str:
    # As code: gradcam@0.3 would become a mail address.
    rule = f"`{str(reference.get('rule', 'unknown')).replace('`', '')}`"
    if reference.get("reliability") is None:
        return f"{rule}, not judged."
    reliability = Reliability.from_json(reference["reliability"])
    doubt = f", **doubtful**: {_text(reliability.doubt)}" if reliability.doubt else ""
    return f"{rule}, reliability {reliability.score:.2f}{doubt}."


def _number(value: float, digits: int) -> str:
    """Format with so many significant digits, without an exponent for large numbers."""
    return f"{float(f'{value:.{digits}g}'):g}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: object) -> str:
    """Escape a value so that Markdown shows it unchanged, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(value).split()))
