"""Pictures, masks and a network that cost next to nothing, for tests that are not about the demo.

A picture shows a red and a green rectangle on tiles. The network's probability of red grows
with how much red there is, so an explanation of red finds the red rectangle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from explainers.classifiers import Classifier
from explainers.images import Geometry

__all__ = [
    "KEYS", "MODEL", "SIDE", "SMALL_MAPS", "TINY", "TUNE_TINY", "make", "make_with_small_space",
    "tiny_picture", "write_catalogue",
]  # fmt: skip

SIDE, _TILE = 64, 16
_TILES = SIDE // _TILE
KEYS = ("house", "key", "umbrella", "cat")
MODEL = ("--model", "tests.tuner.tiny:make")
TINY = ("--catalog", "demo.toml", *MODEL)
"""For the command line, in a folder with :func:`write_catalogue`'s files."""

TUNE_TINY = ("tune", *TINY, "--engine", "torch", "--threads", "1", "--sampler", "random")
"""A search whose proposals cost nothing; a later ``--sampler`` counts."""

SMALL_MAPS: Mapping[str, Mapping[str, tuple[int | float, ...]]] = {
    "lime": {},
    "slic": {"n_segments": (5, 8, 12), "compactness": (5, 20), "sigma": (0,)},
    "felzenszwalb": {"scale": (100, 400), "sigma": (0.5,), "min_size": (100, 300)},
}


class _RedOrGreen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1)
        self.head = nn.Linear(2, 3)
        with torch.no_grad():
            # Red less green, and green less red, of the normalised channels.
            self.features.weight[:] = torch.tensor([[1.0, -1, 0], [-1, 1, 0]])[:, :, None, None]
            self.features.bias[:] = 0.0
            self.head.weight[:] = torch.tensor([[12.0, 0], [0, 12], [0, 0]])
            self.head.bias[:] = torch.tensor([0.0, 0, 1])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(torch.relu(self.features(images)).mean((2, 3)))
        return scores


def make() -> Classifier:
    """The network."""
    return Classifier(
        "tiny", _RedOrGreen(), ("red", "green", "neither"), geometry=Geometry(SIDE, SIDE),
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), cam_layer="features", output="logits",
    )  # fmt: skip


def make_with_small_space() -> Classifier:
    """The network, in a process whose searches have few maps from now on."""
    from tuner.problem import search_space

    search_space._DEFAULT_MAPS = SMALL_MAPS
    return make()


def tiny_picture(key: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(64, 64, 3) uint8, and where its red rectangle is."""
    number = sum(map(ord, key))
    rng = np.random.default_rng(number)
    tiles = rng.integers(60, 180, (_TILES, _TILES, 2))
    image = tiles[..., [0, 0, 1]].repeat(_TILE, 0).repeat(_TILE, 1)  # as red as green
    top, left = 6 + number % 7, 4 + number % 5
    red, green = (slice(top, top + 26), slice(left, left + 20)), (slice(38, 58), slice(38, 60))
    image[red] = (205, 40, 50)
    image[red][:11] = (170, 20, 90)
    image[green] = (40, 180, 60)
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[red] = True
    return image, mask


def write_catalogue(folder: Path, keys: Sequence[str] = KEYS) -> Path:
    """``demo.toml`` with pictures and masks; its studies are called as those of ``demo`` are."""
    text = 'reference = "masks"\n'
    for key in keys:
        image, mask = tiny_picture(key)
        Image.fromarray(image).save(folder / f"{key}.png")
        Image.fromarray(mask).save(folder / f"{key}_mask.png")
        text += f'[[image]]\nkey = "{key}"\nfile = "{key}.png"\nmask = "{key}_mask.png"\n'
    path = folder / "demo.toml"
    path.write_text(text)
    return path
