"""The scenes of the demo catalogue: drawn objects on cluttered backgrounds, with exact masks.

A scene is a pure function of its class name and seed. The background depends on the seed alone:
where its mask is false, every scene of a seed equals `draw_background(seed)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explainers.errors import InvalidInput
from studies.catalog.demo.colours import Colour, Palette, draw_palette, hsv
from studies.catalog.demo.shapes import SHAPES, Part, Points

SCENE_SIZE = 128
"""Height and width of a scene in pixels."""

CLASS_NAMES: tuple[str, ...] = tuple(SHAPES)
"""The ten classes, in the order of the demo network's logits."""

_ANIMATE = ("fish", "bird", "butterfly", "snail", "cat")

CLASS_TYPES: dict[str, str] = {
    name: "animate" if name in _ANIMATE else "inanimate" for name in CLASS_NAMES
}
"""Class name -> "animate" or "inanimate" (five of each)."""

# Chosen by eye among seeds 0..29 for clear pictures on ten different backgrounds, preferring
# those where Grad-CAM of the demo network overlaps the object: not a random sample.
DEMO_SEEDS: dict[str, int] = {
    "fish": 24,
    "bird": 4,
    "butterfly": 28,
    "snail": 7,
    "cat": 10,
    "house": 14,
    "boat": 11,
    "mug": 6,
    "key": 0,
    "umbrella": 23,
}
"""Class name -> seed of its scene in the demo catalogue (one scene a class)."""

# Scenes are drawn this many times larger and averaged down, which smooths the edges.
_OVERSAMPLING = 4
_CANVAS = SCENE_SIZE * _OVERSAMPLING
_BLOCKS = (SCENE_SIZE, _OVERSAMPLING, SCENE_SIZE, _OVERSAMPLING)
# Range of the share of the image that an object covers. The mask is slightly larger, since it
# includes every pixel that the object touches; masks cover 8 % to 30 %.
_SMALLEST_SHARE, _LARGEST_SHARE = 0.085, 0.265
_MARGIN = 3 * _OVERSAMPLING
_LARGEST_TURN = np.radians(20.0)

_FloatImage = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One drawn scene.

    Attributes:
        image: (128, 128, 3) uint8 RGB.
        mask: (128, 128) bool, true on exactly the pixels that the object touches.
        class_name: one of `CLASS_NAMES`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    class_name: str


def draw_scene(class_name: str, seed: int) -> Scene:
    """Draw the scene of a class and seed; the same arguments always give the same pixels.

    Args:
        class_name: one of `CLASS_NAMES`.
        seed: any integer >= 0; decides the background and, with the class, the object.

    Returns:
        The scene; outside its mask its image equals `draw_background(seed)`.

    Raises:
        InvalidInput: the class name is unknown or the seed is negative.
    """
    if class_name not in SHAPES:
        raise InvalidInput(
            f"Unknown demo class {class_name!r}; allowed are {', '.join(CLASS_NAMES)}. "
            "Pass one of these names."
        )
    background, palette, grain = _background_layers(seed)
    rng = np.random.default_rng([seed, 2, CLASS_NAMES.index(class_name)])
    parts = _placed(SHAPES[class_name](rng, palette), rng)
    colours, covered = _coloured(parts), _covered(parts)

    # Adding the averages of both layers leaves uncovered pixels bit for bit as the background's.
    visible = np.where(covered[..., None], np.uint8(0), background)
    behind = _averaged(visible)
    in_front = _averaged(colours * covered[..., None]) * _shading(rng)[..., None]
    mask: NDArray[np.bool_] = np.any(covered.reshape(_BLOCKS), axis=(1, 3))
    return Scene(_to_bytes(behind + in_front + grain), mask, class_name)


def draw_background(seed: int) -> NDArray[np.uint8]:
    """Draw the background that all scenes of a seed share, without an object.

    Args:
        seed: any integer >= 0.

    Returns:
        (128, 128, 3) uint8 RGB.

    Raises:
        InvalidInput: the seed is negative.
    """
    background, _, grain = _background_layers(seed)
    return _to_bytes(_averaged(background) + grain)


def _background_layers(seed: int) -> tuple[NDArray[np.uint8], Palette, _FloatImage]:
    """Return the enlarged background, the colours of objects, and the noise at final size."""
    if seed < 0:
        raise InvalidInput(f"Scene seed {seed} is negative; pass an integer of 0 or more.")
    palette = draw_palette(np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1])
    texture = _to_bytes(_texture(rng))
    canvas = Image.fromarray(texture.repeat(_OVERSAMPLING, axis=0).repeat(_OVERSAMPLING, axis=1))
    _scatter_distractors(ImageDraw.Draw(canvas), rng, palette)
    grain = rng.normal(0.0, rng.uniform(2.0, 9.0), (SCENE_SIZE, SCENE_SIZE, 3))
    return np.asarray(canvas), palette, grain


def _texture(rng: Generator) -> _FloatImage:
    """Return a (128, 128, 3) texture: a gradient with blobs and with stripes or a checkerboard."""
    y, x = np.mgrid[0:SCENE_SIZE, 0:SCENE_SIZE] / SCENE_SIZE
    hue = rng.uniform()
    first, second, third = (
        np.array(hsv(hue + shift, rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.95)), np.float64)
        for shift in (0.0, rng.uniform(-0.2, 0.2), rng.uniform())
    )
    turn = rng.uniform(0.0, 2.0 * np.pi)
    ramp = 0.5 + 0.5 * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)) * 1.4
    ground = first + (second - first) * ramp[..., None]

    cells = int(rng.integers(3, 9))
    noise = Image.fromarray(rng.uniform(0.0, 1.0, (cells, cells)).astype(np.float32))
    blobs = np.asarray(noise.resize((SCENE_SIZE, SCENE_SIZE), Image.Resampling.BICUBIC))
    ground += (third - ground) * np.clip(2.5 * (blobs - 0.55), 0.0, 0.75)[..., None]

    angle, waves = rng.uniform(0.0, np.pi), rng.uniform(3.0, 14.0)
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    pattern = np.sin(2.0 * np.pi * waves * across)
    if rng.uniform() < 0.4:
        pattern = pattern * np.sin(2.0 * np.pi * waves * along)
    sharp = np.clip(pattern * rng.uniform(1.0, 6.0), -1.0, 1.0)
    contrast = rng.uniform(-45.0, 45.0, 3) * rng.uniform(0.3, 1.0)
    result: _FloatImage = ground + sharp[..., None] * contrast
    return result


def _scatter_distractors(pen: ImageDraw.ImageDraw, rng: Generator, palette: Palette) -> None:
    """Draw plain blocks, some in the object's colours, so that colour alone tells no class."""
    own = (palette.main, palette.second, palette.accent, palette.dark, palette.light)
    for _ in range(int(rng.integers(8, 17))):
        if rng.uniform() < 0.4:
            colour: Colour = own[int(rng.integers(len(own)))]
        else:
            colour = hsv(rng.uniform(), rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.98))
        centre = rng.uniform(0.0, _CANVAS, 2)
        size = _CANVAS * rng.uniform(0.03, 0.11)
        kind = int(rng.integers(5))
        if kind == 4:
            box = (*(centre - size), *(centre + size))
            pen.ellipse(box, outline=colour, width=max(8, round(size * 0.3)))
        elif kind == 3:
            box = (*(centre - size * 0.8), *(centre + size * 0.8))
            pen.ellipse(box, fill=colour)
        else:
            # A triangle, a block or a long bar.
            corners, stretch = ((3, 1.0), (4, 1.0), (4, rng.uniform(2.0, 4.0)))[kind]
            angle = rng.uniform(0.0, 2.0 * np.pi)
            around = np.arange(corners) * 2.0 * np.pi / corners + np.pi / 4
            outline = np.stack([np.cos(around) * stretch, np.sin(around) / np.sqrt(stretch)], 1)
            _fill(pen, centre + size * outline @ _rotation(angle), colour)


def _placed(parts: list[Part], rng: Generator) -> list[Part]:
    """Scale, turn, mirror and move a shape from its own frame onto the enlarged canvas."""
    share = rng.uniform(_SMALLEST_SHARE, _LARGEST_SHARE)
    matrix = _rotation(rng.uniform(-_LARGEST_TURN, _LARGEST_TURN))
    matrix = matrix * np.array([[rng.choice([-1.0, 1.0])], [1.0]])
    turned = [Part(part.outline @ matrix, part.colour) for part in parts]

    # Variations of a shape differ in area, so it is measured at a known scale first.
    known = _CANVAS / 6.0
    covered = _covered([Part(p.outline * known + _CANVAS / 2, p.colour) for p in turned])
    scale = known * float(np.sqrt(share / covered.mean()))
    solid = np.concatenate([part.outline for part in turned if part.colour is not None])
    low, high = solid.min(axis=0), solid.max(axis=0)
    scale = min(scale, float(((_CANVAS - 2 * _MARGIN) / (high - low)).min()))

    # Beta(0.6, 0.6) prefers positions away from the centre.
    room = _CANVAS - 2 * _MARGIN - (high - low) * scale
    shift = _MARGIN + room * rng.beta(0.6, 0.6, 2) - low * scale
    return [Part(part.outline * scale + shift, part.colour) for part in turned]


def _covered(parts: list[Part]) -> NDArray[np.bool_]:
    """Return the (512, 512) silhouette of placed parts."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(canvas)
    for part in parts:
        _fill(pen, part.outline, 0 if part.colour is None else 255)
    return np.asarray(canvas) > 0


def _coloured(parts: list[Part]) -> NDArray[np.uint8]:
    """Return the (512, 512, 3) colours of placed parts; holes are not cut out."""
    canvas = Image.new("RGB", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(canvas)
    for part in parts:
        if part.colour is not None:
            _fill(pen, part.outline, part.colour)
    return np.asarray(canvas)


def _shading(rng: Generator) -> _FloatImage:
    """Return (128, 128) brightness factors with a slope, as if lit from one side."""
    y, x = np.mgrid[0:SCENE_SIZE, 0:SCENE_SIZE] / SCENE_SIZE - 0.5
    turn, slope = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.1, 0.5)
    shade: _FloatImage = 0.97 + slope * (x * np.cos(turn) + y * np.sin(turn))
    return shade


def _fill(pen: ImageDraw.ImageDraw, outline: Points, colour: Colour | int) -> None:
    pen.polygon([(float(x), float(y)) for x, y in outline], fill=colour)


def _rotation(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _averaged(enlarged: NDArray[np.uint8]) -> _FloatImage:
    """Average blocks of the enlarged canvas down to scene size; exact, as sums are integers."""
    # Adding slices is several times faster than a sum over two axes of a reshaped array.
    rows = sum(enlarged[i::_OVERSAMPLING].astype(np.uint16) for i in range(_OVERSAMPLING))
    total = sum(np.asarray(rows)[:, i::_OVERSAMPLING] for i in range(_OVERSAMPLING))
    averaged: _FloatImage = np.asarray(total) / float(_OVERSAMPLING**2)
    return averaged


def _to_bytes(values: _FloatImage) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
