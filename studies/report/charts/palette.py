"""The colours of all figures, which colour-blind readers can tell apart, too.

Okabe and Ito (2008), *Color Universal Design*.
"""

from __future__ import annotations

from collections.abc import Mapping

from explainers.metrics import LIME_DEFAULT, LIME_TUNED

__all__ = ["AGAINST", "FOR", "INK", "METHOD_COLOURS", "MUTED", "TYPE_COLOURS", "method_colour"]

INK, MUTED = "#222222", "#767676"
FOR, AGAINST = (0, 114, 178), (213, 94, 0)
"""RGB of superpixels for the class, and of those against it."""

METHOD_COLOURS: Mapping[str, str] = {
    "gradcam": "#0072B2",
    "scorecam": "#56B4E9",
    "ablationcam": "#009E73",
    LIME_DEFAULT: "#E69F00",
    LIME_TUNED: "#D55E00",
}
TYPE_COLOURS: Mapping[str, str] = {"animate": "#009E73", "inanimate": "#CC79A7"}


def method_colour(method: str) -> str:
    """Return the colour of a method; methods without one are grey."""
    return METHOD_COLOURS.get(method, MUTED)
