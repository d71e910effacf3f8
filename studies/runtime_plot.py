"""IoU against seconds of a study's trials, as the JSON of a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studies.front import pareto_front
from studies.study_note import ScoredTrial

__all__ = ["runtime_plot"]

# The report's colours (Okabe and Ito), without all that the report imports.
_TRIALS, _FRONT, _DEFAULTS, _BEST = "#767676", "#0072B2", "#E69F00", "#D55E00"
_TEXT = "#808080"
_GRID = "rgba(128, 128, 128, 0.25)"
_HOVER = "trial %{text}<br>IoU %{y:.3f}<br>%{x:.3g} s<extra></extra>"


def runtime_plot(
    trials: Sequence[ScoredTrial], best: ScoredTrial, default: ScoredTrial | None
) -> dict[str, Any]:
    """A scatter of complete trials with their Pareto front, the best and lime's defaults.

    Returns:
        ``data`` and ``layout`` as Plotly.js takes them; plain values.
    """
    data = [
        _trace("complete trials", trials, {"color": _TRIALS, "size": 6, "opacity": 0.7}),
        {
            **_trace("Pareto front", pareto_front(trials), {"color": _FRONT, "size": 7}),
            "mode": "lines+markers",
            "line": {"color": _FRONT, "shape": "hv", "width": 1.5},
        },
    ]
    if default is not None:
        marker = {"color": _DEFAULTS, "size": 11, "symbol": "square"}
        data.append(_trace("lime's defaults", [default], marker))
    marker = {"color": _BEST, "size": 13, "symbol": "star"}
    data.append(_trace("best score", [best], marker))
    grid = {"gridcolor": _GRID, "zeroline": False}
    layout = {
        "title": {"text": "IoU against seconds"},
        "xaxis": {
            "title": {"text": "seconds, by the runtime model"},
            "type": "log",
            "dtick": "D2",
            **grid,
        },
        "yaxis": {"title": {"text": "IoU with the reference"}, **grid},
        # Legible in the dashboard's light theme and in its dark one.
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": _TEXT},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
        "legend": {"orientation": "h", "y": -0.2},
    }
    return {"data": data, "layout": layout}


def _trace(name: str, trials: Sequence[ScoredTrial], marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [float(f"{t.record.runtime_seconds:.4g}") for t in trials],
        "y": [round(t.record.iou, 4) for t in trials],
        "text": [str(t.number) for t in trials],
        "hovertemplate": _HOVER,
        "marker": marker,
    }
