"""Random colours of the demo catalogue's drawings."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from numpy.random import Generator

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """The colours of one object: three clearly different ones, a near-black and a near-white."""

    main: Colour
    second: Colour
    accent: Colour
    dark: Colour
    light: Colour


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return RGB (each 0..255) of a hue (wrapped to 0..1), a saturation and a value (0..1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_palette(rng: Generator) -> Palette:
    hue = rng.uniform()

    def strong(shift: float) -> Colour:
        return hsv(hue + shift, rng.uniform(0.55, 0.95), rng.uniform(0.6, 0.97))

    return Palette(
        main=strong(0.0),
        second=strong(rng.uniform(0.2, 0.45)),
        accent=strong(rng.uniform(0.55, 0.8)),
        dark=hsv(rng.uniform(), rng.uniform(0.1, 0.6), rng.uniform(0.08, 0.25)),
        light=hsv(rng.uniform(), rng.uniform(0.0, 0.2), rng.uniform(0.88, 1.0)),
    )
