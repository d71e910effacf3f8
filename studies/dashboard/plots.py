"""IoU, or faithfulness, against seconds of a study's trials, as the JSON of a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studies.dashboard.notes import ScoredTrial
from studies.results.front import FrontPoint, pareto_front

__all__ = ["runtime_plot"]

# The report's colours (Okabe and Ito), repeated to avoid the report's imports.
_TRIALS, _FRONT, _DEFAULTS, _BEST = "#767676", "#0072B2", "#E69F00", "#D55E00"
_TEXT = "#808080"
_GRID = "rgba(128, 128, 128, 0.25)"
_HOVER = "trial %{{text}}<br>{} %{{y:.3f}}<br>%{{x:.3g}} s<extra></extra>"


def runtime_plot(
    trials: Sequence[ScoredTrial], best: ScoredTrial, default: ScoredTrial | None
) -> dict[str, Any]:
    """Draw complete trials with their Pareto front, the best trial and lime's defaults.

    Returns:
        ``data`` and ``layout`` for Plotly.js; plain values.
    """
    what = "IoU" if best.record.faithful is None else "faithfulness"
    data = [
        _trace("complete trials", trials, {"color": _TRIALS, "size": 6, "opacity": 0.7}, what),
        {
            **_trace("Pareto front", _front(trials), {"color": _FRONT, "size": 7}, what),
            "mode": "lines+markers",
            "line": {"color": _FRONT, "shape": "hv", "width": 1.5},
        },
    ]
    if default is not None:
        marker = {"color": _DEFAULTS, "size": 11, "symbol": "square"}
        data.append(_trace("lime's defaults", [default], marker, what))
    marker = {"color": _BEST, "size": 13, "symbol": "star"}
    data.append(_trace("best score", [best], marker, what))
    axis = f"{what} with the reference" if what == "IoU" else what
    grid = {"gridcolor": _GRID, "zeroline": False}
    layout = {
        "title": {"text": f"{what} against seconds"},
        "xaxis": {
            "title": {"text": "seconds, by the runtime model"},
            "type": "log",
            "dtick": "D2",
            **grid,
        },
        "yaxis": {"title": {"text": axis}, **grid},
        # Legible in the dashboard's light and dark themes.
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": _TEXT},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
        "legend": {"orientation": "h", "y": -0.2},
    }
    return {"data": data, "layout": layout}


def _front(trials: Sequence[ScoredTrial]) -> list[ScoredTrial]:
    by_number = {trial.number: trial for trial in trials}
    points = [
        FrontPoint(t.number, t.quality, t.runtime_seconds, t.record.runtime_ratio) for t in trials
    ]
    return [by_number[point.number] for point in pareto_front(points)]


def _trace(
    name: str, trials: Sequence[ScoredTrial], marker: dict[str, Any], what: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [float(f"{t.record.runtime_seconds:.4g}") for t in trials],
        "y": [round(t.quality, 4) for t in trials],
        "text": [str(t.number) for t in trials],
        "hovertemplate": _HOVER.format(what),
        "marker": marker,
    }
