"""Charts of dissected networks, for :func:`studies.report.charts.drawing.draw`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dissection.labels import (
    CATEGORIES,
    Dissection,
    category_shares,
    concept_counts,
    counted_units,
)

__all__ = ["agreement_by_size", "categories_by_layer", "similarity_histograms", "top_concepts"]

_WIDTH = 6.9  # inches, the width of two printed columns
# Okabe and Ito's colours, light to dark, to show layers as a sequence.
_LAYERS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7")
_CATEGORIES = (
    "#009E73", "#56B4E9", "#E69F00", "#8C6D31", "#CC79A7", "#0072B2", "#D55E00", "#BBBBBB",
)  # fmt: skip


def _panels(count: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure, its height in inches, and its ``count`` axes side by side."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(ncols=count, squeeze=False, **options)[0]


def top_concepts(dissections: Sequence[Dissection], rule: str, count: int = 15) -> Figure:
    """Concepts of most units, one chart a network; bars are stacked by layer."""
    figure, panels = _panels(len(dissections), 0.9 + 0.23 * count)
    for axes, dissection in zip(panels, dissections, strict=True):
        names = list(concept_counts(dissection.layers, rule))[:count]
        left = np.zeros(len(names))
        for number, layer in enumerate(dissection.layers):
            counts = concept_counts([layer], rule)
            values = np.array([counts.get(name, 0) for name in names], dtype=float)
            axes.barh(
                range(len(names)), values, left=left, label=layer.layer,
                color=_LAYERS[number % len(_LAYERS)],
            )  # fmt: skip
            left += values
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_title(dissection.model)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("units")
        axes.legend(frameon=False, fontsize=7, loc="lower right")
    return figure


def similarity_histograms(dissections: Sequence[Dissection], rule: str) -> Figure:
    """Similarity of the counted units' labels, by layer."""
    figure, panels = _panels(len(dissections), 2.6, sharex=True)
    values = {
        (d.model, layer.layer): [unit.similarity for unit in counted_units(layer, rule)]
        for d in dissections
        for layer in d.layers
    }
    known = [value for side in values.values() for value in side if value is not None]
    edges = np.linspace(min(known, default=0.0), max(known, default=1.0), 31)
    for axes, dissection in zip(panels, dissections, strict=True):
        for number, layer in enumerate(dissection.layers):
            axes.hist(
                values[dissection.model, layer.layer], bins=edges.tolist(), histtype="step",
                linewidth=1.5, color=_LAYERS[number % len(_LAYERS)], label=layer.layer,
            )  # fmt: skip
        axes.set_title(dissection.model)
        axes.set_xlabel("similarity of the label")
        axes.set_ylabel("units")
        axes.legend(frameon=False, fontsize=7)
    return figure


def categories_by_layer(dissections: Sequence[Dissection], rule: str) -> Figure:
    """Share of the counted units by kind of concept, one bar a layer."""
    figure, panels = _panels(len(dissections), 2.9, sharey=True)
    for axes, dissection in zip(panels, dissections, strict=True):
        shares = [category_shares(layer, rule) for layer in dissection.layers]
        bottom = np.zeros(len(shares))
        for name, colour in zip(CATEGORIES, _CATEGORIES, strict=True):
            values = np.array([share[name] for share in shares])
            axes.bar(range(len(shares)), values, bottom=bottom, color=colour, label=name)
            bottom += values
        names = [layer.layer for layer in dissection.layers]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 1)
        axes.set_title(dissection.model)
    panels[0].set_ylabel("share of labelled units")
    panels[-1].legend(
        frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True
    )
    return figure


def agreement_by_size(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """Share of a layer's labels that are the same with fewer probing images.

    Args:
        curves: (images, share) points by name of the line.
    """
    figure, panels = _panels(1, 2.8)
    axes = panels[0]
    for number, (name, points) in enumerate(curves.items()):
        axes.plot(
            [size for size, _ in points], [share for _, share in points], marker="o", markersize=4,
            color=_LAYERS[number % len(_LAYERS)], label=name,
        )  # fmt: skip
    sizes = sorted({size for points in curves.values() for size, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("probing images")
    axes.set_ylabel("labels as with all images")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=7)
    return figure
