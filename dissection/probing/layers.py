"""Layers of a network: checking their names, and choosing them by default."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.cam import layer_outputs, stage_names
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput

__all__ = ["check_layers", "default_layers", "has_feature_maps"]

_STAGES = 3  # by default
_NEAREST = 4  # names in a message


def check_layers(classifier: Classifier, layers: Sequence[str]) -> None:
    """Check that every path names a module of the network.

    Raises:
        InvalidInput: one does not; the message lists similar names.
    """
    known = [name for name, _ in classifier.module.named_modules() if name]
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=_NEAREST, cutoff=0.3)
            near = near or [name for name, _ in classifier.module.named_children()][:_NEAREST]
            raise InvalidInput(
                f"{classifier.name} has no layer '{layer}'; the nearest are: {', '.join(near)}"
            )


def default_layers(classifier: Classifier) -> tuple[str, ...]:
    """The last three stages: the last module of each of the three smallest sizes of feature maps.

    For a ResNet these are ``layer2, layer3, layer4``. For a network whose maps all have one size,
    such as a transformer, it is the layer of its class activation maps.

    Raises:
        InvalidInput: no layer has feature maps.
    """
    outputs = layer_outputs(classifier, _black(classifier), stage_names(classifier.module))
    ends = {  # in the order in which modules return, so containers come after their parts
        cells.shape[2]: path for path, cells in outputs.items() if cells.shape[2] == cells.shape[3]
    }
    stages = [ends[side] for side in sorted(ends, reverse=True)][-_STAGES:]
    if len(stages) < 2 and classifier.cam_layer is not None:
        return (classifier.cam_layer,)
    if not stages:
        raise InvalidInput(f"no layer of {classifier.name} has feature maps: name some (--layers)")
    return tuple(stages)


def has_feature_maps(classifier: Classifier, layer: str) -> bool:
    """Whether a layer's output for an image has more than one cell."""
    return layer in layer_outputs(classifier, _black(classifier), [layer])


def _black(classifier: Classifier) -> NDArray[np.uint8]:
    side = classifier.geometry.crop
    return np.zeros((1, side, side, 3), dtype=np.uint8)
