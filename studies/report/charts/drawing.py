"""Draw a chart once, as SVG for the page and as PNG for print.

The bytes depend on the data only: SVG ids have a constant salt, and no date is written.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib

from studies.report.charts.palette import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "draw"]

_P = ParamSpec("_P")
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "text.color": INK,
    "text.parse_math": False,  # keys may have dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "lime-tuner",
    "svg.fonttype": "path",
}
_DPI = 300


@dataclass(frozen=True)
class Drawing:
    """A figure as files.

    Attributes:
        name: of the files, without suffix.
        png: at 300 dpi.
    """

    name: str
    svg: str = field(repr=False)
    png: bytes = field(repr=False)

    @property
    def data_uri(self) -> str:
        """The SVG for the ``src`` of an image, without the XML header."""
        text = self.svg[self.svg.index("<svg") :]
        return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode('ascii')}"

    def save(self, folder: Path) -> list[Path]:
        """Write ``NAME.png`` and ``NAME.svg``, and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("png", "svg")]
        paths[0].write_bytes(self.png)
        paths[1].write_text(self.svg, encoding="utf-8")
        return paths


def draw(
    name: str, figure: Callable[_P, Figure], *arguments: _P.args, **options: _P.kwargs
) -> Drawing:
    """Draw with the report's style, and without a window system.

    Args:
        name: of the files.
        figure: one of ``studies.report.charts.figures``, called with the rest.
    """
    matplotlib.use("Agg")
    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        drawn = figure(*arguments, **options)
        drawn.savefig(svg, format="svg", metadata={"Date": None})
        drawn.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    return Drawing(name, svg.getvalue(), png.getvalue())
