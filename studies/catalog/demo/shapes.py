"""The ten objects of the demo catalogue, as lists of coloured polygons.

A shape is drawn in its own frame: x to the right, y down, about -1..1 on both axes. ``scenes``
decides position, size and rotation. Every part is a polygon, so a turned and scaled silhouette
is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from studies.catalog.demo.colours import Colour, Palette

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One filled polygon: `outline` is (n, 2) float64; a `colour` of None cuts a hole."""

    outline: Points
    colour: Colour | None


def _polygon(colour: Colour | None, *points: tuple[float, float]) -> Part:
    return Part(np.array(points, dtype=np.float64), colour)


def _box(colour: Colour | None, left: float, top: float, right: float, bottom: float) -> Part:
    return _polygon(colour, (left, top), (right, top), (right, bottom), (left, bottom))


def _ellipse(
    colour: Colour | None, x: float, y: float, across: float, down: float, turn: float = 0.0
) -> Part:
    """Return an ellipse around (x, y) with half axes `across` and `down`, turned `turn` radians."""
    angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    u, v = across * np.cos(angle), down * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return Part(np.stack([x + u * cos - v * sin, y + u * sin + v * cos], axis=1), colour)


def _smooth(colour: Colour | None, *points: tuple[float, float]) -> Part:
    """Return a closed Catmull-Rom curve through `points`."""
    p1 = np.array(points, dtype=np.float64)[:, None, :]
    p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    t = np.linspace(0.0, 1.0, 10, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2.0 * p1
        + (p2 - p0) * t
        + (2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3) * t**2
        + (3.0 * p1 - p0 - 3.0 * p2 + p3) * t**3
    )
    return Part(curve.reshape(-1, 2), colour)


def _stroke(colour: Colour, width: float, path: Sequence[tuple[float, float]]) -> list[Part]:
    """Return a line with round joints and ends: one quadrilateral a segment, one disc a point."""
    half = width / 2.0
    parts = [_ellipse(colour, x, y, half, half) for x, y in path]
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        length = float(np.hypot(x1 - x0, y1 - y0))
        nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
        quad = ((x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny))
        parts.append(_polygon(colour, *quad))
    return parts


def _arc(
    x: float, y: float, across: float, down: float, start: float, end: float, steps: int = 14
) -> list[tuple[float, float]]:
    """Return points on an ellipse between two angles in degrees, clockwise from +x."""
    angle = np.radians(np.linspace(start, end, steps))
    return [(x + across * float(np.cos(a)), y + down * float(np.sin(a))) for a in angle]


def _mirrored(part: Part) -> Part:
    return Part(part.outline * np.array([-1.0, 1.0]), part.colour)


def _fish(rng: Generator, ink: Palette) -> list[Part]:
    tall, long, fan = rng.uniform(0.42, 0.58), 0.75, rng.uniform(0.36, 0.55)
    parts = [
        _polygon(ink.second, (-0.5, 0.0), (-1.05, -fan), (-0.88, 0.0), (-1.05, fan)),
        _smooth(
            ink.accent, (-0.35, -tall * 0.7), (-0.2, -tall - 0.24), (0.2, -tall - 0.1), (0.4, -0.2)
        ),
        _polygon(ink.accent, (-0.1, tall * 0.8), (-0.28, tall + 0.26), (0.22, tall * 0.85)),
        _ellipse(ink.main, 0.05, 0.0, long, tall),
    ]
    for left in np.linspace(-0.42, 0.12, int(rng.integers(2, 4))):
        x = np.linspace(left, left + 0.13, 6)
        reach = tall * 0.96 * np.sqrt(1.0 - ((x - 0.05) / long) ** 2)
        band = np.concatenate([np.stack([x, -reach], 1), np.stack([x, reach], 1)[::-1]])
        parts.append(Part(band, ink.light))
    parts.append(_polygon(ink.second, (0.12, 0.08), (-0.2, 0.3), (-0.14, 0.02)))
    parts += _stroke(ink.dark, 0.05, _arc(0.62, 0.16, 0.14, 0.1, 20, 130, 8))
    parts += [_ellipse(ink.light, 0.48, -0.13, 0.13, 0.13)]
    parts += [_ellipse(ink.dark, 0.51, -0.13, 0.07, 0.07)]
    return parts


def _bird(rng: Generator, ink: Palette) -> list[Part]:
    head, lift = rng.uniform(0.27, 0.33), rng.uniform(-0.1, 0.1)
    parts = _stroke(ink.dark, 0.07, [(-0.08, 0.45), (-0.08, 0.95), (0.1, 0.95)])
    parts += _stroke(ink.dark, 0.07, [(0.16, 0.45), (0.16, 0.95), (0.34, 0.95)])
    parts += [
        _polygon(ink.second, (-0.5, 0.0), (-1.1, lift), (-1.02, 0.26 + lift), (-0.4, 0.35)),
        _polygon(ink.accent, (0.7, -0.66), (1.08, -0.5), (0.7, -0.38)),
        _smooth(
            ink.main,
            (0.62, -0.3),
            (0.6, 0.15),
            (0.25, 0.52),
            (-0.25, 0.48),
            (-0.62, 0.14),
            (-0.2, -0.2),
            (0.2, -0.5),
        ),
        _ellipse(ink.main, 0.48, -0.52, head, head),
        _ellipse(ink.light, 0.36, 0.18, 0.2, 0.26, 0.5),
        _smooth(
            ink.second,
            (0.18, -0.12),
            (0.12, 0.22),
            (-0.3, 0.36),
            (-0.78, 0.2 + lift),
            (-0.3, -0.12),
        ),
    ]
    parts += _stroke(ink.light, 0.04, [(0.02, 0.1), (-0.3, 0.16), (-0.6, 0.16 + lift / 2)])
    parts += [
        _ellipse(ink.light, 0.55, -0.58, 0.1, 0.1),
        _ellipse(ink.dark, 0.57, -0.58, 0.06, 0.06),
    ]
    return parts


def _butterfly(rng: Generator, ink: Palette) -> list[Part]:
    top, low = rng.uniform(0.72, 0.92), rng.uniform(0.6, 0.85)
    spot = rng.uniform(0.1, 0.16)
    wing = [
        _smooth(ink.second, (0.03, 0.05), (0.55, 0.02), (0.72, 0.38), (0.45, low), (0.12, 0.45)),
        _smooth(ink.main, (0.02, 0.08), (0.2, -0.45), (0.7, -top), (1.0, -0.55), (0.75, 0.06)),
        _smooth(ink.light, (0.15, 0.0), (0.3, -0.35), (0.52, -0.48), (0.5, -0.1)),
        _ellipse(ink.accent, 0.76, -0.5, spot, spot),
        _ellipse(ink.dark, 0.76, -0.5, spot / 2, spot / 2),
        _ellipse(ink.accent, 0.45, 0.4, spot, spot * 1.3),
    ]
    parts = [half for part in wing for half in (part, _mirrored(part))]
    for side in (-1.0, 1.0):
        path = [(0.02 * side, -0.4), (0.1 * side, -0.68), (0.26 * side, -0.92)]
        parts += _stroke(ink.dark, 0.05, path)
        parts.append(_ellipse(ink.dark, 0.26 * side, -0.92, 0.06, 0.06))
    parts += [_ellipse(ink.dark, 0.0, 0.08, 0.09, 0.5), _ellipse(ink.dark, 0.0, -0.42, 0.11, 0.11)]
    return parts


def _snail(rng: Generator, ink: Palette) -> list[Part]:
    shell, x, y = rng.uniform(0.54, 0.64), -0.18, -0.02
    lean = rng.uniform(-0.08, 0.08)
    parts = _stroke(ink.second, 0.07, [(0.72, -0.1), (0.66 + lean, -0.52)])
    parts += _stroke(ink.second, 0.07, [(0.82, -0.1), (0.98 + lean, -0.48)])
    parts += [
        _ellipse(ink.dark, 0.66 + lean, -0.54, 0.08, 0.08),
        _ellipse(ink.dark, 0.98 + lean, -0.5, 0.08, 0.08),
        _smooth(
            ink.second,
            (-1.1, 0.68),
            (-0.6, 0.4),
            (0.1, 0.36),
            (0.5, 0.28),
            (0.58, -0.1),
            (0.8, -0.24),
            (0.98, -0.06),
            (0.92, 0.4),
            (0.7, 0.7),
            (-0.1, 0.74),
        ),
        _ellipse(ink.main, x, y, shell, shell),
    ]
    for scale, colour in ((0.8, ink.light), (0.64, ink.main), (0.44, ink.accent), (0.2, ink.dark)):
        # The rings are shifted towards the shell's lower edge, which looks like a spiral.
        parts.append(
            _ellipse(colour, x, y + (1.0 - scale) * shell * 0.35, shell * scale, shell * scale)
        )
    parts += _stroke(ink.dark, 0.05, _arc(0.86, 0.06, 0.1, 0.08, 20, 130, 7))
    return parts


def _cat(rng: Generator, ink: Palette) -> list[Part]:
    wide, ear = rng.uniform(0.42, 0.5), rng.uniform(0.9, 1.08)
    parts = _stroke(
        ink.second,
        0.17,
        [(0.3, 0.82), (0.62, 0.82), (0.8, 0.62), (0.76, 0.36), (0.62, 0.2), (0.7, 0.02)],
    )
    parts.append(
        _smooth(
            ink.main,
            (0.0, -0.2),
            (0.34, 0.1),
            (0.5, 0.6),
            (0.38, 0.92),
            (-0.38, 0.92),
            (-0.5, 0.6),
            (-0.34, 0.1),
        )
    )
    parts.append(_ellipse(ink.light, 0.0, 0.38, 0.2, 0.34))
    for side in (-1.0, 1.0):
        parts += [
            _ellipse(ink.second, 0.18 * side, 0.88, 0.16, 0.11),
            _polygon(ink.main, (0.46 * side, -0.4), (0.42 * side, -ear), (0.05 * side, -0.72)),
            _polygon(
                ink.accent, (0.39 * side, -0.55), (0.37 * side, -ear + 0.14), (0.17 * side, -0.7)
            ),
        ]
    parts.append(_ellipse(ink.main, 0.0, -0.4, wide, 0.38))
    for x in (-0.12, 0.0, 0.12):
        parts += _stroke(ink.second, 0.05, [(x, -0.74 + abs(x) * 0.2), (x, -0.58)])
    parts.append(_ellipse(ink.light, 0.0, -0.22, 0.2, 0.14))
    for side in (-1.0, 1.0):
        parts += [
            _ellipse(ink.light, 0.19 * side, -0.44, 0.1, 0.1),
            _ellipse(ink.dark, 0.19 * side, -0.44, 0.045, 0.09),
        ]
        for drop in (-0.02, 0.06):
            parts += _stroke(
                ink.dark, 0.025, [(0.15 * side, -0.22), (0.56 * side, -0.24 + drop * 2)]
            )
    parts.append(_polygon(ink.accent, (-0.07, -0.31), (0.07, -0.31), (0.0, -0.22)))
    return parts


def _house(rng: Generator, ink: Palette) -> list[Part]:
    side, eaves = rng.uniform(0.66, 0.84), rng.uniform(-0.22, -0.08)
    door = rng.uniform(-0.35, 0.1)
    chimney = rng.choice([-1.0, 1.0]) * rng.uniform(0.38, 0.5)
    parts = [
        _box(ink.dark, chimney - 0.11, -0.95, chimney + 0.11, eaves),
        _box(ink.main, -side, eaves, side, 0.85),
        _polygon(
            ink.second, (-side - 0.18, eaves), (-0.1, -1.0), (0.1, -1.0), (side + 0.18, eaves)
        ),
        _ellipse(ink.light, 0.0, (eaves - 1.0) / 2 + 0.08, 0.13, 0.13),
        _box(ink.accent, door - 0.16, 0.3, door + 0.16, 0.85),
        _ellipse(ink.light, door + 0.09, 0.58, 0.035, 0.035),
    ]
    for x in (door - 0.36, door + 0.42, door + 0.82):
        if abs(x) + 0.16 < side:
            parts += [
                _box(ink.light, x - 0.15, 0.12, x + 0.15, 0.46),
                _box(ink.dark, x - 0.02, 0.12, x + 0.02, 0.46),
                _box(ink.dark, x - 0.15, 0.27, x + 0.15, 0.31),
            ]
    return parts


def _boat(rng: Generator, ink: Palette) -> list[Part]:
    mast, top = rng.uniform(-0.12, 0.12), rng.uniform(-1.05, -0.9)
    bow = rng.uniform(0.22, 0.34)
    parts = [_box(ink.dark, mast - 0.04, top - 0.12, mast + 0.04, 0.45)]
    parts += [
        _polygon(ink.accent, (mast, top - 0.12), (mast - 0.34, top), (mast, top + 0.1)),
        _smooth(
            ink.light,
            (mast + 0.07, top + 0.12),
            (mast + 0.5, -0.3),
            (mast + 0.78, 0.26),
            (mast + 0.07, 0.26),
        ),
        _polygon(ink.second, (mast - 0.08, top + 0.2), (mast - 0.08, 0.26), (-0.8, 0.26)),
        _polygon(ink.main, (-0.95, 0.4), (1.0, 0.4), (1.0 - bow, 0.86), (-0.95 + bow, 0.86)),
        _polygon(
            ink.light,
            (-0.95 + bow * 0.3, 0.5),
            (1.0 - bow * 0.3, 0.5),
            (1.0 - bow * 0.55, 0.61),
            (-0.95 + bow * 0.55, 0.61),
        ),
    ]
    return parts


def _mug(rng: Generator, ink: Palette) -> list[Part]:
    half, foot = rng.uniform(0.52, 0.64), rng.uniform(0.42, 0.54)
    loop = rng.uniform(0.36, 0.44)
    band = rng.uniform(-0.05, 0.12)
    body = [(-half, -0.7), (half, -0.7), (foot, 0.75), (-foot, 0.75)]
    parts = [
        _ellipse(ink.second, half - 0.02, 0.0, loop, loop + 0.1),
        _ellipse(None, half - 0.02, 0.0, loop - 0.15, loop - 0.06),
        _polygon(ink.main, *body),
        _ellipse(ink.main, 0.0, 0.75, foot, 0.14),
        _ellipse(ink.light, 0.0, -0.7, half, 0.17),
        _ellipse(ink.dark, 0.0, -0.68, half - 0.09, 0.11),
    ]

    def edge(y: float) -> float:
        return half + (foot - half) * (y + 0.7) / 1.45

    lower = band + 0.3
    parts.append(
        _polygon(
            ink.light,
            (-edge(band), band),
            (edge(band), band),
            (edge(lower), lower),
            (-edge(lower), lower),
        )
    )
    for x in (-0.28, 0.0, 0.28):
        parts.append(_ellipse(ink.accent, x, band + 0.15, 0.09, 0.09))
    return parts


def _key(rng: Generator, ink: Palette) -> list[Part]:
    bow, eye = rng.uniform(0.46, 0.54), rng.uniform(0.17, 0.22)
    thick = rng.uniform(0.12, 0.15)
    x = -0.6
    parts = [
        _box(ink.main, x, -thick, 1.1, thick),
        _ellipse(ink.main, x, 0.0, bow, bow),
        _ellipse(ink.second, x, 0.0, bow - 0.1, bow - 0.1),
        _ellipse(ink.main, x, 0.0, eye + 0.08, eye + 0.08),
        _ellipse(None, x, 0.0, eye, eye),
        _box(ink.accent, x + bow - 0.02, -thick - 0.1, x + bow + 0.13, thick + 0.1),
        _box(ink.light, x + bow + 0.13, -0.03, 1.0, 0.03),
    ]
    left = 0.36
    for _ in range(3):
        drop = rng.uniform(0.24, 0.42)
        parts.append(_box(ink.main, left, thick - 0.02, left + 0.17, thick + drop))
        left += 0.27
    return parts


def _umbrella(rng: Generator, ink: Palette) -> list[Part]:
    panels, tall = int(rng.integers(4, 7)), rng.uniform(0.68, 0.85)
    rim = -0.1
    hook = rng.choice([-1.0, 1.0])
    parts = [_box(ink.dark, -0.045, rim - tall - 0.16, 0.045, 0.75)]
    parts += _stroke(ink.accent, 0.13, [(0.0, 0.45), (0.0, 0.75)])
    parts += _stroke(ink.accent, 0.13, _arc(0.19 * hook, 0.75, -0.19 * hook, 0.2, 0, -180))
    down = np.linspace(0.0, np.pi / 2, 14)
    along = np.linspace(0.0, 1.0, 9)
    seams = np.sin(np.linspace(-np.pi / 2, np.pi / 2, panels + 1))
    colours = (ink.main, ink.second) if panels % 2 == 0 else (ink.main, ink.light)
    for i, (s0, s1) in enumerate(itertools.pairwise(seams)):
        height = rim - tall * np.cos(down)
        near = np.stack([s0 * np.sin(down), height], axis=1)
        far = np.stack([s1 * np.sin(down), height], axis=1)
        scallop = np.stack(
            [s0 + (s1 - s0) * along, rim - 0.25 * (s1 - s0) * np.sin(np.pi * along)], axis=1
        )
        parts.append(Part(np.concatenate([near, scallop, far[::-1]]), colours[i % 2]))
    return parts


SHAPES: dict[str, Callable[[Generator, Palette], list[Part]]] = {
    "fish": _fish,
    "bird": _bird,
    "butterfly": _butterfly,
    "snail": _snail,
    "cat": _cat,
    "house": _house,
    "boat": _boat,
    "mug": _mug,
    "key": _key,
    "umbrella": _umbrella,
}
"""Class name -> function that draws one variation of it from a generator and a palette."""
