"""Heat maps spread over regions that the classifier's features find similar.

A class activation map marks what decides for a class, often a face or a wheel. The classifier's
own finer features tell which tiles of the picture belong together: heat is spread by a random walk
that prefers similar tiles and restarts at the map with a small probability. Ahn and Kwak (2018,
"Learning Pixel-level Semantic Affinity") walk between tiles of one object, with a network trained
for it; here the features are the classifier's, and the walk is the personalised PageRank of
Andersen, Chung and Lang (2006).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from explainers.masks import stretched

GRID = 28
"""Tiles a side."""

_COLOUR_WIDTH = 10.0  # in CIELAB, where 2 is about what one can just see
_RESTART = 0.03  # probability
_LITTLE = 1e-6  # added to similarities, so that every tile can be reached from every other


def likeness(features: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Similarity of tiles: cosine of their features times a Gaussian of their colours' distance.

    Args:
        features: (channels, GRID, GRID).
        image: (H, W, 3) uint8.

    Returns:
        (GRID², GRID²), symmetric, above 0.
    """
    flat = features.reshape(len(features), -1).T.astype(np.float64)
    flat = flat - flat.mean(axis=0)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + _LITTLE
    lab = rgb2lab(image).astype(np.float32)
    colours = cv2.resize(lab, (GRID, GRID), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    distances = ((colours[:, None] - colours[None]) ** 2).sum(axis=2)
    alike: NDArray[np.float64] = np.maximum(flat @ flat.T, 0.0)
    alike *= np.exp(-distances / (2 * _COLOUR_WIDTH**2))
    return alike + _LITTLE


def spread(heat: NDArray[np.float32], alike: NDArray[np.float64]) -> NDArray[np.float32]:
    """The map after the random walk, relative to how similar a tile is to all others.

    Args:
        heat: (H, W) float32 in [0, 1], not all zero.
        alike: as :func:`likeness` gives it.

    Returns:
        (H, W) float32 in [0, 1], scaled to its own minimum and maximum.
    """
    start = cv2.resize(heat, (GRID, GRID), interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
    if start.sum() == 0:
        return heat
    degree = alike.sum(axis=1)
    walk = alike / degree[:, None]
    system = np.eye(len(walk)) - (1 - _RESTART) * walk.T
    visits = np.linalg.solve(system, _RESTART * start / start.sum())
    tiles = (visits / degree).reshape(GRID, GRID)
    whole = cv2.resize(tiles, heat.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return stretched(whole.astype(np.float32))
