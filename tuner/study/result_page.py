"""A study's result as HTML and as a figure, for notebooks."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from explainers.lime import LimeParameters
from explainers.metrics import Faithfulness
from studies.dashboard import legend
from studies.export import argument_code
from studies.results.fidelity import Fidelity
from studies.results.runtime_doubt import runtime_doubt

if TYPE_CHECKING:
    from tuner.study.result import TuningResult

__all__ = ["comparison", "html"]

_LARGEST = 256  # pixels a side
# Half transparent grey, and the page's own text colour, can be read on white and on black.
_LINE = "1px solid rgba(128,128,128,.45)"
_CELL = f"padding:.2em .8em;border:0;border-bottom:{_LINE}"
_DEFAULTS, _BEST = "lime's defaults", "best"


class _Comparison(Figure):
    """A figure that notebooks show without a backend."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()


def comparison(result: TuningResult, default: NDArray[np.uint8], best: NDArray[np.uint8]) -> Figure:
    """Two pictures side by side, with IoU and seconds above them.

    Args:
        default, best: (H, W, 3) uint8.
    """
    with matplotlib.rc_context({"text.parse_math": False}):  # names may have dollar signs
        figure = _Comparison(figsize=(8, 4.8), layout="constrained", facecolor="white")
        shown = ((_DEFAULTS, result.default, default), (_BEST, result.best, best))
        for axes, (title, found, picture) in zip(figure.subplots(1, 2), shown, strict=True):
            axes.imshow(picture)
            axes.set_title(f"{title}\n{_headline(found)}", fontsize=10, color="black")
            axes.set_axis_off()
        figure.supxlabel(legend(has_reference=_has_reference(result)), fontsize=8, color="black")
    return figure


def html(result: TuningResult, pictures: Mapping[str, NDArray[np.uint8]]) -> str:
    """The whole result: pictures, numbers, parameters, and what it was made from.

    Args:
        pictures: (H, W, 3) uint8 by title; may be empty.
    """
    key = result.study.study_name if result.image is None else result.image.key
    change = f"{_headline(result.default)} with {_DEFAULTS} → {_headline(result.best)}"
    parts = [
        f'<p style="font-size:1.15em"><strong>{escape(key)}</strong>: {escape(change)}</p>',
        _gallery(result, pictures),
        _table(["", _DEFAULTS, f"{_BEST} (trial {result.best['number']})"], _numbers(result)),
        _parameters(result.parameters),
        "".join(f'<p style="margin:.2em 0">{escape(line)}</p>' for line in _facts(result)),
    ]
    return f'<div style="color:inherit;max-width:72em">{"".join(parts)}</div>'


def _gallery(result: TuningResult, pictures: Mapping[str, NDArray[np.uint8]]) -> str:
    if not pictures:
        return ""
    figures = "".join(
        f'<figure style="margin:0;flex:1 1 8em;max-width:{_LARGEST}px">'
        f'<img alt="{escape(title)}" style="display:block;max-width:100%" '
        f'src="data:image/png;base64,{_png(picture)}"><figcaption>{escape(title)}</figcaption>'
        "</figure>"
        for title, picture in pictures.items()
    )
    meaning = escape(legend(has_reference=_has_reference(result)))
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:.8em">{figures}</div>'
        f'<p style="margin:.3em 0"><em>{meaning}</em></p>'
    )


def _png(picture: NDArray[np.uint8]) -> str:
    """A small PNG in base64: few pixels, and 256 colours, a third of the bytes."""
    image = Image.fromarray(picture)
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.quantize(256, Image.Quantize.MEDIANCUT).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


_MEASURES = (
    ("held-out R² of the surrogate", "r2", 3),
    ("insertion − deletion", "gain", 3),
    ("share of the picture marked", "marked", 2),
    ("effective samples", "effective_samples", 1),
)


def _numbers(result: TuningResult) -> list[list[str]]:
    columns = (result.default, result.best)
    trials = result.study.get_trials(deepcopy=False)
    stored = [trials[found["number"]].user_attrs for found in columns]
    fidelity = [Fidelity.of(attributes) for attributes in stored]
    rows = []
    if _has_reference(result):
        spreads = [_spread(f, s["seeds"]) for f, s in zip(columns, stored, strict=True)]
        rows.append(["IoU with the reference", *spreads])
    if all("faithful" in found for found in columns):
        rows.append(["faithfulness", *[f"{_quality(found):.3f}" for found in columns]])
    for title, name, digits in _MEASURES:
        values = [getattr(each, name, None) for each in fidelity]
        if None not in values:
            rows.append([title, *[f"{value:.{digits}f}" for value in values]])
    rows += [
        ["seconds, by the runtime model", *[_seconds(found) for found in columns]],
        ["score", *[f"{found['score']:.3f}" for found in columns]],
        ["superpixels", *[str(attributes["superpixels"]) for attributes in stored]],
        ["samples", *[str(found["parameters"]["num_samples"]) for found in columns]],
    ]
    return rows


def _parameters(parameters: LimeParameters) -> str:
    code = argument_code(parameters)
    if not code:
        return "<p>The best parameters are lime's defaults.</p>"
    cells = [[f"<code>{escape(text)}</code>" for text in pair] for pair in code.items()]
    body = "".join(_row(row, "left") for row in cells)
    return (
        '<table style="border-collapse:collapse;margin:.6em 0">'
        '<caption style="text-align:left;caption-side:top;color:inherit">'
        f"The best parameters; everything else is lime's default.</caption>{body}</table>"
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(
        f'<th scope="col" style="{_CELL};text-align:right">{escape(text)}</th>' for text in head
    )
    body = "".join(_row([escape(text) for text in row], "right") for row in rows)
    return (
        f'<table style="border-collapse:collapse;margin:.6em 0"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _row(cells: list[str], align: str) -> str:
    """A row of HTML cells, the first of which is its header."""
    first, *others = cells
    values = "".join(f'<td style="{_CELL};text-align:{align}">{cell}</td>' for cell in others)
    head = f'<th scope="row" style="{_CELL};text-align:left;font-weight:normal">{first}</th>'
    return f'<tr style="background:none">{head}{values}</tr>'


def _facts(result: TuningResult) -> list[str]:
    """What the result was made from, a line each."""
    attributes = result.study.user_attrs
    lines = [f"{result.trials} trials, {result.pruned} of them stopped early."]
    if result.image is not None:
        classifier = result.image.classifier
        lines.insert(0, f"Image: {result.image.preparation}.")
        name, certain = attributes.get("class_name", ""), attributes.get("probability", math.nan)
        lines.append(f"Class: {name} ({certain:.0%}), by {classifier.name}.")
    if _has_reference(result):
        lines.append(f"Reference: {attributes['reference']['rule']}.")
    if result.best.get("compromise"):
        lines.append(
            "The best is a compromise: it explains less than lime's defaults by more than the "
            "study's constraint allows."
        )
    doubt = runtime_doubt(attributes.get("runtime_model"))
    if doubt is not None:
        lines.append(f"The seconds are not to be trusted: {doubt}.")
    return lines


def _has_reference(result: TuningResult) -> bool:
    return "iou" in result.best and not math.isnan(result.best["iou"])


def _headline(found: Mapping[str, Any]) -> str:
    what = "faithfulness" if "faithful" in found else "IoU"
    return f"{what} {_quality(found):.2f} in {_seconds(found)} s"


def _quality(found: Mapping[str, Any]) -> float:
    """The score without the price of the runtime."""
    faithful = found.get("faithful")
    return float(found["iou"]) if faithful is None else Faithfulness.from_json(faithful).value


def _spread(found: Mapping[str, Any], seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"{found['iou']:.3f} (1 seed)"
    return f"{found['iou']:.3f} ± {found['iou_std']:.3f} ({len(seeds)} seeds)"


def _seconds(found: Mapping[str, Any]) -> str:
    rounded = float(f"{found['runtime_seconds']:.2g}")
    return f"{rounded:g}"
