"""Where the cells of a feature map lie in the picture.

A cell of a layer with stride s is usually drawn as the s × s square it would have if the layer cut
the picture into tiles: cell i centred at s·i + (s − 1)/2. That holds for pooling and patches. A
padded convolution of odd size with stride 2 centres its outputs at every second input instead, so
after five of them cell i looks at s·i: half a cell (16 pixels of 224) further up and left.

A mirror image tells which: tiles of a picture and of its mirror image are the same tiles, in
reverse; cells that look at s·i fall between two of the mirror image's, one further on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cells_start_at_corner", "moved_to_centres", "sampled"]


def cells_start_at_corner(pair: NDArray[np.float32]) -> bool:
    """Whether the first cell looks at the picture's corner rather than at the middle of a tile.

    Args:
        pair: (2, channels, h, w): the layer's answer to a picture and to its mirror image.
    """
    straight, mirrored = pair[0], pair[1][..., ::-1]
    if straight.shape[-1] < 4:
        return False
    tiles = _correlation(straight[..., 1:-1], mirrored[..., 1:-1])
    # Cell i at s·i meets the mirror image's cell n − i, which reversed stands at i − 1.
    corners = _correlation(straight[..., 1:-1], mirrored[..., :-2])
    return corners > tiles


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two feature maps, each channel's mean taken off."""
    a = a - a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean(axis=(1, 2), keepdims=True)
    norm = float(np.sqrt((a * a).sum(dtype=np.float64) * (b * b).sum(dtype=np.float64)))
    return float((a * b).sum(dtype=np.float64)) / norm if norm > 0 else 0.0


def moved_to_centres(heat: NDArray[np.float32], stride: tuple[float, float]) -> NDArray[np.float32]:
    """An enlarged map whose cells were drawn as tiles, with cells put at their corners instead.

    Args:
        heat: (..., H, W).
        stride: pixels from cell to cell, down and across.

    Returns:
        The same shape; linear between pixels, the outermost cells go on to the edges.
    """
    for axis, step in ((-2, stride[0]), (-1, stride[1])):
        length = heat.shape[axis]
        position = np.minimum(np.arange(length) + (step - 1) / 2, length - 1)
        low = np.floor(position).astype(np.intp)
        high = np.minimum(low + 1, length - 1)
        share = (position - low).astype(np.float32)
        share = share[:, None] if axis == -2 else share
        heat = np.take(heat, low, axis) * (1 - share) + np.take(heat, high, axis) * share
    return heat


def sampled(cells: NDArray[np.float32], side: int, *, corner: bool) -> NDArray[np.float32]:
    """A feature map at the centres of a grid of tiles of the picture.

    Args:
        cells: (channels, h, w) of one picture.
        side: tiles a side.
        corner: as :func:`cells_start_at_corner` found.

    Returns:
        (channels, side, side) float32; linear between cells, the outermost go on to the edges.
    """
    found = cells
    for axis in (1, 2):
        count = cells.shape[axis]
        middle = (np.arange(side) + 0.5) / side * count  # in cells, from the picture's edge
        position = (middle if corner else middle - 0.5).clip(0, count - 1)
        low = np.floor(position).astype(np.intp)
        high = np.minimum(low + 1, count - 1)
        share = (position - low).astype(np.float32)
        share = share[None, :, None] if axis == 1 else share[None, None, :]
        found = np.take(found, low, axis) * (1 - share) + np.take(found, high, axis) * share
    return found.astype(np.float32)
