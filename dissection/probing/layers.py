"""Layers of a network: by name, the usual ones, and what their outputs are as units."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.classifier import Classifier
from explainers.errors import InvalidInput
from explainers.layer_outputs import layer_outputs, stage_names

__all__ = [
    "POOLINGS", "TOKENS", "check_layers", "default_layers", "has_feature_maps", "hooked", "pooled",
]  # fmt: skip

POOLINGS = ("mean", "max")
"""How the cells of a feature map become one number."""

TOKENS = ("cls", "mean")
"""Which token of a transformer's sequence is taken."""

_STAGES = 3
_NEAREST = 4

Keep = Callable[[str, torch.Tensor], None]
"""Called with a layer's path and its output, detached."""


def check_layers(classifier: Classifier, layers: Sequence[str]) -> None:
    """Every path names a module of the network.

    Raises:
        InvalidInput: one does not; the nearest names are told.
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
    """The last three stages: of each of the coarsest three sizes of cells, the module that ends it.

    ``layer2, layer3, layer4`` for a ResNet. A network whose layers all have one size, a
    transformer, gives the layer of its class activation maps.
    """
    outputs = layer_outputs(classifier, _black(classifier), stage_names(classifier.module))
    ends = {  # in the order of the calls: a container answers after what is in it
        cells.shape[2]: path for path, cells in outputs.items() if cells.shape[2] == cells.shape[3]
    }
    stages = [ends[side] for side in sorted(ends, reverse=True)][-_STAGES:]
    if len(stages) < 2 and classifier.cam_layer is not None:
        return (classifier.cam_layer,)
    if not stages:
        raise InvalidInput(f"no layer of {classifier.name} has feature maps: name some (--layers)")
    return tuple(stages)


def has_feature_maps(classifier: Classifier, layer: str) -> bool:
    """Whether a layer's units have more than one cell in an image."""
    return layer in layer_outputs(classifier, _black(classifier), [layer])


@contextmanager
def hooked(classifier: Classifier, layers: Sequence[str], keep: Keep) -> Iterator[None]:
    """Hand on what layers answer while the network is used; no hook is left behind.

    A module that is called several times in one pass, as a shared activation function is, hands on
    each of its outputs.

    Raises:
        InvalidInput: a layer's output is no tensor.
    """

    def hook(path: str) -> Callable[[Any, Any, Any], None]:
        def answered(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                raise InvalidInput(
                    f"layer '{path}' of {classifier.name} gives a {type(output).__name__}: name a "
                    "layer that gives one tensor"
                )
            keep(path, output.detach())

        return answered

    handles = []
    try:
        for path in layers:
            module = classifier.module.get_submodule(path)
            handles.append(module.register_forward_hook(hook(path)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def pooled(
    classifier: Classifier, path: str, output: torch.Tensor, pooling: str, tokens: str
) -> torch.Tensor:
    """One number a unit, (N, U) float32.

    Feature maps (N, U, h, w) are pooled over their cells, of sequences (N, T, U) a token is taken
    or their mean, flat outputs (N, U) stay.

    Raises:
        InvalidInput: an output of another shape.
    """
    if output.ndim == 4:
        cells = _as_cells(classifier, output).to(torch.float32)
        return cells.mean(dim=(2, 3)) if pooling == "mean" else cells.amax(dim=(2, 3))
    if output.ndim == 3:
        return (output[:, 0] if tokens == "cls" else output.mean(dim=1)).to(torch.float32)
    if output.ndim == 2:
        return output.to(torch.float32)
    raise InvalidInput(
        f"layer '{path}' of {classifier.name} gives shape {tuple(output.shape)}: name a layer with "
        "feature maps (N, U, h, w), tokens (N, T, U) or flat outputs (N, U)"
    )


def _as_cells(classifier: Classifier, output: torch.Tensor) -> torch.Tensor:
    """(N, U, h, w), also where a network keeps its units last."""
    if classifier.reshape_transform is None:
        return output
    try:
        return classifier.reshape_transform(output)
    except (RuntimeError, IndexError, ValueError):  # made for the blocks, not for this layer
        return output


def _black(classifier: Classifier) -> NDArray[np.uint8]:
    side = classifier.geometry.crop
    return np.zeros((1, side, side, 3), dtype=np.uint8)
