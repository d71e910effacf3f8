"""Maps of where more evidence would count: positive gradients at a finer layer.

A class activation map weighs features, so it is hottest where features are strongest: at a face or
a wheel. The gradients alone tell where the class score rises with *any* feature of the layer, which
is nearly all of the object. Their sum over channels, negative ones left out, is the semantic
information map of Cai and Abhayaratne (2025, "Region-CAM", arXiv 2510.25134); their propagation
between stages is not done here, as borders come from the rule that reads the mask.

The layer is the last one with at least twice as many cells a side as the layer of the class
activation maps: behind it the network still looks at the neighbourhood of each cell, while at the
last layer the gradient of a network that averages its cells is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from explainers.cam.activation_maps import POSITIVE_GRADIENTS, ActivationMaps
from explainers.cam.layers import finer_layer
from explainers.cam.multiscale import multiscale_maps
from explainers.classifiers import Classifier
from explainers.images import AtScale
from explainers.masks import stretched

REGION_SCALES: Sequence[float] = (1.0, 1.5, 2.0, 3.0)
"""The largest is for objects of a few percent of the picture."""


def region_maps(
    classifier: Classifier,
    at_scale: AtScale,
    class_index: int,
    scales: Sequence[float] = REGION_SCALES,
) -> NDArray[np.float32]:
    """The map of each scale, averaged with that of the mirror image.

    Where no layer has finer cells, as in a transformer, they are Grad-CAM's maps.

    Args:
        at_scale: the same crop of the photograph at each scale.

    Returns:
        (len(scales), H, W) float32 in [0, 1], at the size of ``at_scale(1.0)``.

    Raises:
        InvalidInput: the model takes pictures of one size only, or has no such layer.
    """
    finer = finer_layer(classifier, at_scale(1.0))
    method = "gradcam" if finer is None else POSITIVE_GRADIENTS
    looked_at = classifier if finer is None else replace(classifier, cam_layer=finer)
    with ActivationMaps(looked_at, method) as maps:
        return multiscale_maps(maps, at_scale, class_index, scales)


def region_map(classifier: Classifier, at_scale: AtScale, class_index: int) -> NDArray[np.float32]:
    """The mean of :func:`region_maps` over scales.

    Returns:
        (H, W) float32 in [0, 1], scaled to its own minimum and maximum.
    """
    return stretched(region_maps(classifier, at_scale, class_index).mean(axis=0))
