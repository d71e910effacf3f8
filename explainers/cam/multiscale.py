"""Activation maps over several input scales and mirror images.

The last layer of a convolutional network sees a 224 × 224 picture as 7 × 7 cells. The same crop of
the photograph, taken larger, has more of them, and each scale and mirror image errs differently;
their mean is finer than any. Test-time augmentation of class activation maps is grad-cam's
"aug_smooth" (Gildenblat 2021); averaging them over scales goes back to weakly supervised
segmentation (Ahn and Kwak 2018, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.cam.activation_maps import ActivationMaps
from explainers.cam.affinity import GRID, likeness, spread
from explainers.cam.layers import finer_layer, layer_outputs
from explainers.classifiers import Classifier
from explainers.images import AtScale
from explainers.masks import stretched

SCALES: Sequence[float] = (1.0, 1.5, 2.0)
_FINE = 2.0  # scale of the pictures whose features are compared


def multiscale_maps(
    maps: ActivationMaps, at_scale: AtScale, class_index: int, scales: Sequence[float] = SCALES
) -> NDArray[np.float32]:
    """The map of each scale, averaged with that of the mirror image.

    Cells are put where the network looks (:func:`moved_to_centres`).

    Args:
        at_scale: the same crop of the photograph at each scale.

    Returns:
        (len(scales), H, W) float32 in [0, 1], at the size of ``at_scale(1.0)``.
    """
    shape = at_scale(1.0).shape[:2]
    answers = []
    for scale in scales:  # first, because these raise if a model takes one size only
        both = maps.enlarged(_with_mirror(at_scale(scale)), class_index)
        answers.append((both, maps.cells))
    corner = _cells_start_at_corner(maps.classifier, at_scale)
    found = []
    for both, (rows, columns) in answers:
        if corner:
            both = moved_to_centres(both, (both.shape[1] / rows, both.shape[2] / columns))
        mean = (both[0] + both[1][:, ::-1]) / 2
        found.append(_resized(mean, (shape[0], shape[1])))
    return np.stack(found)


def multiscale_map(
    maps: ActivationMaps, at_scale: AtScale, class_index: int
) -> NDArray[np.float32]:
    """The mean of :func:`multiscale_maps` over scales.

    Returns:
        (H, W) float32 in [0, 1], scaled to its own minimum and maximum.
    """
    return stretched(multiscale_maps(maps, at_scale, class_index).mean(axis=0))


def affinity_map(maps: ActivationMaps, at_scale: AtScale, class_index: int) -> NDArray[np.float32]:
    """Geometric mean of :func:`multiscale_map` and that map after :func:`spread`.

    Returns:
        (H, W) float32 in [0, 1].
    """
    mean = multiscale_map(maps, at_scale, class_index)
    alike = likeness(_tile_features(maps.classifier, at_scale), at_scale(1.0))
    return stretched(np.sqrt(mean * spread(mean, alike)))


def _tile_features(classifier: Classifier, at_scale: AtScale) -> NDArray[np.float32]:
    """(channels, GRID, GRID) features of the finer layer, averaged with the mirror image's."""
    layer = finer_layer(classifier, at_scale(1.0)) or classifier.cam_layer
    assert layer is not None
    pair = layer_outputs(classifier, _with_mirror(at_scale(_FINE)), [layer])[layer]
    corner = cells_start_at_corner(pair)
    straight, mirrored = (sampled(cells, GRID, corner=corner) for cells in pair)
    return np.asarray(np.stack([straight, mirrored[..., ::-1]]).mean(axis=0))


def _cells_start_at_corner(classifier: Classifier, at_scale: AtScale) -> bool:
    assert classifier.cam_layer is not None
    pair = layer_outputs(classifier, _with_mirror(at_scale(_FINE)), [classifier.cam_layer])
    return all(cells_start_at_corner(cells) for cells in pair.values()) and bool(pair)


def _with_mirror(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([pixels, pixels[:, ::-1]])


def _resized(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if values.shape == shape:
        return values
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    resized = picture.resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32).clip(0.0, 1.0)


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
    """Correlation of two (channels, h, w) maps after subtracting each channel's mean."""
    a = a - a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean(axis=(1, 2), keepdims=True)
    norm = float(np.sqrt((a * a).sum(dtype=np.float64) * (b * b).sum(dtype=np.float64)))
    return float((a * b).sum(dtype=np.float64)) / norm if norm > 0 else 0.0


def moved_to_centres(heat: NDArray[np.float32], stride: tuple[float, float]) -> NDArray[np.float32]:
    """Shift an enlarged map by half a cell, for cells that look at the corners of their tiles.

    Args:
        heat: (..., H, W).
        stride: pixels from cell to cell, down and across.

    Returns:
        The same shape; linear between pixels, constant beyond the outermost cells.
    """
    for axis, step in ((-2, stride[0]), (-1, stride[1])):
        length = heat.shape[axis]
        heat = _interpolated(heat, axis, np.arange(length) + (step - 1) / 2)
    return heat


def _interpolated(
    values: NDArray[np.float32], axis: int, position: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Values at positions along axis -2 or -1; linear between, constant beyond the outermost."""
    last = values.shape[axis] - 1
    position = position.clip(0, last)
    low = np.floor(position).astype(np.intp)
    share = (position - low).astype(np.float32)
    share = share[:, None] if axis == -2 else share
    upper = np.take(values, np.minimum(low + 1, last), axis)
    return np.asarray(np.take(values, low, axis) * (1 - share) + upper * share)


def sampled(cells: NDArray[np.float32], side: int, *, corner: bool) -> NDArray[np.float32]:
    """Sample a feature map at the centres of a grid of tiles of the picture.

    Args:
        cells: (channels, h, w) of one picture.
        side: tiles a side.
        corner: as :func:`cells_start_at_corner` found.

    Returns:
        (channels, side, side) float32; linear between cells, constant beyond the outermost.
    """
    found = cells
    for axis in (-2, -1):
        count = cells.shape[axis]
        middle = (np.arange(side) + 0.5) / side * count  # in cells, from the picture's edge
        found = _interpolated(found, axis, middle if corner else middle - 0.5)
    return found.astype(np.float32)
