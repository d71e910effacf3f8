"""Perturbed images: a photograph with some of its superpixels hidden, built many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explainers.errors import InvalidInput

HideColor = int | tuple[int, int, int] | None
"""What hides a superpixel: a grey value, a colour, or ``None`` for its own mean colour."""


def as_lime_hides(segments: NDArray[np.integer]) -> tuple[NDArray[np.int64], int]:
    """Renumber superpixels by what lime hides.

    lime counts the labels with ``np.unique``, n of them, and hides feature i by ``segments == i``.
    So labels outside 0 to n - 1 are never hidden, and a number below n that no pixel has is a
    feature without effect. Where labels begin with 1, label n is never hidden, and feature 0 has no
    effect.

    Args:
        segments: (H, W) labels of any segmentation.

    Returns:
        (H, W) labels, in which n stands for everything that is never hidden; and n, the number of
        features.
    """
    low, high = int(segments.min()), int(segments.max())
    if low >= 0 and high < segments.size:  # np.unique is slow
        features = int(np.count_nonzero(np.bincount(segments.ravel())))
    else:
        features = len(np.unique(segments))
    hidden = (segments >= 0) & (segments < features)
    return np.where(hidden, segments, features).astype(np.int64), features


def hidden_image(
    image: NDArray[np.uint8], segments: NDArray[np.int64], hide_color: HideColor
) -> NDArray[np.uint8]:
    """lime's ``fudged_image``: what shows where a superpixel is switched off.

    Args:
        image: (H, W, 3) uint8.
        segments: (H, W) labels from 0; numbers may be missing.
        hide_color: a grey value, a colour, or ``None`` for each superpixel's mean.

    Returns:
        (H, W, 3) uint8.
    """
    hidden = image.copy()
    if hide_color is not None:
        hidden[:] = hide_color
        return hidden
    labels = segments.ravel()
    # Sums of uint8 are exact in float64, so these are np.mean's own means, to the last bit.
    counts = np.bincount(labels)
    for channel in range(3):
        sums = np.bincount(labels, weights=image[..., channel].ravel())
        means = sums / np.maximum(counts, 1)
        hidden[..., channel] = means.astype(np.uint8)[segments]
    return hidden


class Perturbation:
    """An image, its superpixels, and the colour that hides them.

    Building an image takes a table look-up and two bitwise operations a pixel: where a pixel is
    shown, its hidden value is XORed with ``image ^ hidden``, which gives the image's own value.

    For example, with superpixels 0 on the left, 1 and 2 on the right::

        segments = np.array([[0, 1], [0, 2]])
        shown = Perturbation(image, segments, 0).images(np.array([[1, 0, 1]]))
        # +-------+-------+
        # | image | black |
        # +-------+-------+
        # | image | image |
        # +-------+-------+

    Args:
        image: (H, W, 3) uint8.
        segments: (H, W) labels from 0; numbers may be missing.
        hide_color: see :func:`hidden_image`.
    """

    def __init__(
        self, image: NDArray[np.uint8], segments: NDArray[np.int64], hide_color: HideColor
    ) -> None:
        if image.shape[:2] != segments.shape:
            raise InvalidInput(
                f"superpixels of shape {segments.shape} are not those of an image of shape "
                f"{image.shape}"
            )
        self.image, self.segments, self.hide_color = image, segments, hide_color
        self.shape = image.shape
        hidden = hidden_image(image, segments, hide_color)
        # One colour plane after the other, the layout that networks take.
        self.hidden = np.ascontiguousarray(hidden.transpose(2, 0, 1)).reshape(3, -1)
        self.difference = self.hidden ^ image.transpose(2, 0, 1).reshape(3, -1)
        self.labels = segments.ravel()

    def images(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """The perturbed images of some patterns.

        Args:
            rows: (S, n_superpixels) 0/1; 0 switches a superpixel off.

        Returns:
            (S, H, W, 3) uint8: a view on memory in which each colour is a plane of its own.
        """
        shown = rows.astype(np.uint8) * np.uint8(255)
        mask = shown.take(self.labels, axis=1, mode="clip")
        planes: NDArray[np.uint8] = np.bitwise_and(mask[:, None, :], self.difference[None])
        np.bitwise_xor(planes, self.hidden[None], out=planes)
        height, width, _ = self.shape
        return planes.reshape(-1, 3, height, width).transpose(0, 2, 3, 1)
