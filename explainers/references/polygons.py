"""Polygons as masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_polygons", "points_of"]


def fill_polygons(
    polygons: Iterable[Sequence[Sequence[float]] | NDArray[np.float64]],
    shape: tuple[int, int],
    holes: Iterable[Sequence[Sequence[float]]] = (),
) -> NDArray[np.bool_]:
    """Pixels whose centre lies in one of the polygons and in no hole.

    Args:
        polygons: each a list of at least three (x, y); parts outside of the picture are cut off.
        shape: (H, W).
    """
    from skimage.draw import polygon2mask

    def inside(points: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.bool_]:
        corners = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        filled: NDArray[np.bool_] = polygon2mask(shape, corners[:, ::-1] - 0.5)
        return filled

    mask = np.zeros(shape, dtype=bool)
    for points in polygons:
        mask |= inside(points)
    for points in holes:
        mask &= ~inside(points)
    return mask


def points_of(values: Any) -> NDArray[np.float64]:
    """Coordinates from a file, flat or in pairs, as (N, 2).

    Raises:
        ValueError, TypeError: they are no pairs of finite numbers.
    """
    points = np.asarray(values, dtype=np.float64)
    if points.ndim > 1 and points.shape[-1] not in (2, points.size):
        raise ValueError(f"{points.shape[-1]} coordinates a point are no pairs of x and y")
    if points.size % 2:
        raise ValueError(f"{points.size} coordinates are no pairs of x and y")
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is no number (NaN or infinite)")
    return points.reshape(-1, 2)
