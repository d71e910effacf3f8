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

from explainers.cam import ActivationMaps
from explainers.images import AtScale

__all__ = ["SCALES", "multiscale_map", "multiscale_maps"]

SCALES: Sequence[float] = (1.0, 1.5, 2.0)


def multiscale_maps(
    maps: ActivationMaps, at_scale: AtScale, class_index: int, scales: Sequence[float] = SCALES
) -> NDArray[np.float32]:
    """The map of each scale, its mirror image averaged in.

    Args:
        at_scale: the same crop of the photograph at each scale.

    Returns:
        (len(scales), H, W) float32 in [0, 1], at the size of ``at_scale(1.0)``.
    """
    height, width = at_scale(1.0).shape[:2]
    found = []
    for scale in scales:
        pixels = at_scale(scale)
        both = maps.enlarged(np.stack([pixels, pixels[:, ::-1]]), class_index)
        mean = (both[0] + both[1][:, ::-1]) / 2
        found.append(_resized(mean, (height, width)))
    return np.stack(found)


def multiscale_map(
    maps: ActivationMaps, at_scale: AtScale, class_index: int, scales: Sequence[float] = SCALES
) -> NDArray[np.float32]:
    """The mean over scales, scaled to its own minimum and maximum.

    Returns:
        (H, W) float32 in [0, 1].
    """
    mean = multiscale_maps(maps, at_scale, class_index, scales).mean(axis=0)
    mean -= mean.min()
    peak = float(mean.max())
    scaled: NDArray[np.float32] = mean / peak if peak > 0 else mean
    return scaled


def _resized(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if values.shape == shape:
        return values
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    resized = picture.resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32).clip(0.0, 1.0)
