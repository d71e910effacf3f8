"""The report's charts; :func:`studies.report.charts.drawing.draw` calls these functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from explainers.metrics import LIME_DEFAULT, LIME_TUNED
from studies.records import ComparisonRun
from studies.report.charts.palette import INK, MUTED, TYPE_COLOURS, method_colour
from studies.report.charts.panels import Panel
from studies.report.search import Judged
from studies.results.analysis import agreement_matrix, agreement_with_cams, methods_of, values_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "agreement_by_type", "agreement_heat_map", "dumbbells", "fronts", "importance_bars",
    "side_by_side", "study_histories", "time_against_fidelity", "trade_offs",
]  # fmt: skip

_WIDTH = 6.9  # inches: two columns of print
_Shown = TypeVar("_Shown")


def _new(width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**options)


def _grid(axes: Axes, **options: Any) -> None:
    axes.grid(color="#dddddd", linewidth=0.6, **options)
    axes.set_axisbelow(True)


def _small_multiples(
    shown: Mapping[str, _Shown],
    draw_one: Callable[[Axes, str, _Shown], None],
    *,
    most_columns: int,
    margin: float,
    row: float,
) -> Figure:
    """Draw one small chart for each image, on shared axes.

    Args:
        margin, row: height in inches, of the whole figure and of each row in it.
    """
    columns = min(most_columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, panels = _new(
        _WIDTH, margin + row * rows, nrows=rows, ncols=columns, sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axes, (key, values) in zip(panels.flat, shown.items(), strict=False):
        draw_one(axes, key, values)
    for axes in list(panels.flat)[len(shown) :]:
        axes.set_visible(False)
    return figure


def dumbbells(
    rows: Sequence[tuple[str, float | None, float | None]], label: str, names: tuple[str, str]
) -> Figure:
    """Draw two values of each image, joined by a line.

    Args:
        rows: (image, first, second); ``None`` where there is no value.
        names: the methods of the first and second values.
    """
    figure, axes = _new(_WIDTH, 0.9 + 0.27 * len(rows))
    for place, (_, first, second) in enumerate(rows):
        if first is not None and second is not None:
            axes.plot([first, second], [place, place], color=MUTED, linewidth=1.5, zorder=1)
        for value, name, marker in ((first, names[0], "o"), (second, names[1], "D")):
            if value is not None:
                axes.scatter(
                    [value], [place], color=method_colour(name), marker=marker, s=36, zorder=2
                )
    for name, marker in zip(names, "oD", strict=True):
        axes.scatter([], [], color=method_colour(name), marker=marker, s=36, label=name)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    _grid(axes, axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return figure


def fronts(points: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw one Pareto front for each image, on shared axes.

    Args:
        points: (seconds, IoU) by image, fastest first.
    """
    figure = _small_multiples(points, _front, most_columns=3, margin=0.6, row=1.9)
    figure.supxlabel("seconds, by the runtime model", fontsize="medium")
    figure.supylabel("IoU with the reference", fontsize="medium")
    return figure


def _front(axes: Axes, key: str, front: Sequence[tuple[float, float]]) -> None:
    seconds, ious = zip(*front, strict=True)
    axes.plot(
        seconds, ious, color=method_colour(LIME_TUNED), marker="D", markersize=4,
        drawstyle="steps-post",
    )  # fmt: skip
    axes.set_title(key, fontsize="small")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "25" else "")
    axes.set_ylim(0, 1)
    _grid(axes)


def trade_offs(trials: Mapping[str, Sequence[Judged]]) -> Figure:
    """Draw IoU over insertion minus deletion, one small chart for each image."""
    figure = _small_multiples(trials, _trade_off, most_columns=4, margin=0.6, row=1.6)
    figure.supxlabel("insertion − deletion", fontsize="medium")
    figure.supylabel("IoU with the reference", fontsize="medium")
    return figure


def _trade_off(axes: Axes, key: str, trials: Sequence[Judged]) -> None:
    looks: dict[str, dict[str, Any]] = {
        "": {"color": MUTED, "s": 12, "linewidths": 0},
        "default": {"color": method_colour(LIME_DEFAULT), "s": 40, "zorder": 3},
        "best": {"color": method_colour(LIME_TUNED), "s": 40, "marker": "D", "zorder": 4},
    }
    for part, look in looks.items():
        some = [trial for trial in trials if trial.part == part]
        axes.scatter([each.gain for each in some], [each.iou for each in some], **look)
    default = next((trial for trial in trials if trial.part == "default"), None)
    if default is not None:
        axes.axvline(default.gain, color=method_colour(LIME_DEFAULT), linewidth=0.7, alpha=0.5)
    axes.set_title(key if len(key) < 19 else f"{key[:17]}…", fontsize="small")
    axes.set_ylim(0, 1)
    _grid(axes)


def agreement_by_type(run: ComparisonRun, methods: Sequence[str]) -> Figure:
    """Draw the mean IoU of LIME's mask with the heat maps' masks by type: boxes and points."""
    figure, panels = _new(_WIDTH, 2.8, ncols=len(methods), sharey=True, squeeze=False)
    for axes, method in zip(panels[0], methods, strict=True):
        for place, (type_, colour) in enumerate(TYPE_COLOURS.items()):
            found = [agreement_with_cams(i, method) for i in run.images if i.type == type_]
            values = [value for value in found if math.isfinite(value)]
            if values:
                axes.boxplot(
                    [values], positions=[place], widths=0.5, showfliers=False,
                    medianprops={"color": INK}, boxprops={"color": MUTED},
                    whiskerprops={"color": MUTED}, capprops={"color": MUTED},
                )  # fmt: skip
            spread = (np.arange(len(values)) - (len(values) - 1) / 2) * 0.06
            axes.scatter(place + spread, values, color=colour, s=28, zorder=3)
        axes.set_xticks(range(len(TYPE_COLOURS)), list(TYPE_COLOURS))
        axes.set_xlim(-0.6, len(TYPE_COLOURS) - 0.4)
        axes.set_ylim(0, 1)
        axes.set_title(method)
    panels[0][0].set_ylabel("IoU with the heat maps' masks")
    return figure


def time_against_fidelity(run: ComparisonRun) -> Figure:
    """Draw insertion minus deletion over seconds (logarithmic), for each image and on average."""
    figure, axes = _new(_WIDTH, 3.4)
    for method in methods_of(run):
        seconds = np.array(values_of(run, method, "seconds"))
        gain = np.subtract(values_of(run, method, "insertion"), values_of(run, method, "deletion"))
        known = np.isfinite(seconds) & np.isfinite(gain)
        if not known.any():
            continue
        colour = method_colour(method)
        axes.scatter(seconds[known], gain[known], color=colour, s=14, alpha=0.45, linewidths=0)
        axes.scatter(
            [np.exp(np.log(seconds[known]).mean())], [gain[known].mean()],
            color=colour, s=90, marker="D", edgecolors=INK, linewidths=0.8, label=method, zorder=3,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("seconds an image")
    axes.set_ylabel("insertion − deletion")
    _grid(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def agreement_heat_map(run: ComparisonRun) -> Figure:
    """Draw the mean IoU of the masks of every two methods, as numbers on a grid."""
    methods, found = methods_of(run), agreement_matrix(run)
    values = np.array([[found[a, b].mean for b in methods] for a in methods])
    side = 1.2 + 0.55 * len(methods)
    figure, axes = _new(min(_WIDTH, side + 1.0), side)
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1)
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        axes.text(
            column, row, "–" if math.isnan(value) else f"{value:.2f}", ha="center", va="center",
            color="black" if value > 0.5 else "white",
        )  # fmt: skip
    axes.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
    axes.set_yticks(range(len(methods)), methods)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def study_histories(histories: Mapping[str, Sequence[float | None]]) -> Figure:
    """Draw the best score so far over trials, one small chart for each study.

    Args:
        histories: by image, score of each finished trial; ``None`` for those stopped early.
    """
    figure = _small_multiples(histories, _history, most_columns=5, margin=0.5, row=1.25)
    figure.supxlabel("trial")
    figure.supylabel("score")
    return figure


def _history(axes: Axes, key: str, scores: Sequence[float | None]) -> None:
    known = [(n, score) for n, score in enumerate(scores) if score is not None]
    axes.scatter(
        [n for n, _ in known], [max(s, 0.0) for _, s in known], s=5, color=MUTED, linewidths=0
    )
    best, line = -math.inf, []
    for score in scores:
        best = max(best, score if score is not None else -math.inf)
        line.append(best if best > -math.inf else math.nan)
    axes.step(range(len(line)), line, where="post", color=method_colour("lime tuned"))
    axes.set_title(key if len(key) < 19 else f"{key[:17]}…", fontsize=7)
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7)


def importance_bars(importance: Mapping[str, float]) -> Figure:
    """Draw the importance of parameters, mean over studies, the largest first."""
    ordered = sorted(importance.items(), key=lambda pair: -pair[1])
    figure, axes = _new(_WIDTH, 0.7 + 0.25 * max(1, len(ordered)))
    axes.barh(range(len(ordered)), [value for _, value in ordered], color=method_colour("gradcam"))
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.invert_yaxis()
    axes.set_xlabel("share of the variance of the score explained")
    return figure


def side_by_side(rows: Mapping[str, Sequence[Panel]]) -> Figure:
    """Draw the panels of several images, one row an image."""
    columns = max(len(row) for row in rows.values())
    side = _WIDTH / (columns + 0.25)
    high = side * 1.24 * len(rows)
    figure = Figure(figsize=(_WIDTH, high))
    # The grid is placed by hand, as a layout engine would slowly measure each of many texts.
    grid = figure.add_gridspec(
        len(rows), columns, left=0.2 * side / _WIDTH, right=0.995, bottom=0.02 * side / high,
        top=1 - 0.2 * side / high, wspace=0.05, hspace=0.24,
    )  # fmt: skip
    for line, (key, row) in enumerate(rows.items()):
        for column, panel in enumerate(row):
            axes = figure.add_subplot(grid[line, column])
            axes.set_axis_off()
            axes.imshow(panel.pixels)
            axes.set_title(
                f"{panel.title}\n{panel.caption}", fontsize=5, fontweight="normal", pad=2
            )
            if column == 0:
                axes.text(
                    -0.04, 0.5, key, fontsize=5, rotation=90, ha="right", va="center",
                    transform=axes.transAxes,
                )  # fmt: skip
    return figure
