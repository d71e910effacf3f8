"""Heat maps by name: one class activation map, the mean of several, or of several scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.cam.activation_maps import CAM_METHODS, ActivationMaps
from explainers.cam.channel_weights import Progress
from explainers.cam.multiscale import affinity_map, multiscale_map
from explainers.cam.region import region_map
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.images import AtScale, enlarged
from explainers.lime import top_label
from explainers.masks import consensus

CONSENSUS_OF: Sequence[str] = ("gradcam", "scorecam", "ablationcam")
"""The methods whose mean is the method ``consensus``."""

_SEVERAL_SCALES = {"multiscale": multiscale_map, "affinity": affinity_map}

HEAT_MAP_METHODS: Sequence[str] = (*CAM_METHODS, "consensus", *_SEVERAL_SCALES, "region")
"""``multiscale`` and ``affinity`` are Grad-CAM's; ``multiscale-METHOD`` is any other's. ``region``
is :func:`explainers.cam.region.region_map`."""


def check_method(method: str) -> None:
    """Check that :func:`heat_map` knows a method.

    Raises:
        InvalidInput: it does not; the message lists those it knows.
    """
    kind, _, inner = method.partition("-")
    if method in HEAT_MAP_METHODS or (kind in _SEVERAL_SCALES and inner in CAM_METHODS):
        return
    raise InvalidInput(
        f"CAM method '{method}' is unknown: use one of {', '.join(HEAT_MAP_METHODS)}, "
        "multiscale-METHOD or affinity-METHOD"
    )


def heat_map(
    classifier: Classifier,
    image: NDArray[np.uint8],
    method: str,
    class_index: int | None = None,
    progress: Progress | None = None,
    at_scale: AtScale | None = None,
) -> NDArray[np.float32]:
    """A class activation map of one image.

    Args:
        image: (H, W, 3) uint8, in the classifier's geometry.
        method: one of :data:`HEAT_MAP_METHODS`, or ``multiscale-METHOD``, ``affinity-METHOD``.
        class_index: the class that is explained; the likeliest when ``None``.
        progress: called by the methods of many forward passes (Score-CAM, Ablation-CAM).
        at_scale: the same crop of the photograph at other sizes; without it the image itself is
            enlarged, which shows no further detail.

    Returns:
        (H, W) float32 in [0, 1], scaled to the image's own minimum and maximum.

    Raises:
        InvalidInput: unknown method, class or layer, or a model that takes one size only.
        LimeTunerError: the layer's output is no feature map.
    """
    check_method(method)
    probabilities = classifier.predict_proba(image[None])[0]
    if class_index is None:
        class_index = top_label(probabilities)
    if not 0 <= class_index < len(probabilities):
        raise InvalidInput(
            f"class {class_index} does not exist: {classifier.name} has classes 0 to "
            f"{len(probabilities) - 1}"
        )
    if method == "region":
        return region_map(classifier, at_scale or enlarged(image), class_index)
    kind, _, inner = method.partition("-")
    if kind in _SEVERAL_SCALES:
        with ActivationMaps(classifier, inner or "gradcam", progress) as maps:
            return _SEVERAL_SCALES[kind](maps, at_scale or enlarged(image), class_index)
    methods = CONSENSUS_OF if method == "consensus" else (method,)
    found = []
    for each in methods:
        with ActivationMaps(classifier, each, progress) as maps:
            found.append(maps.enlarged(image[None], class_index)[0])
    return consensus(found) if method == "consensus" else found[0]
