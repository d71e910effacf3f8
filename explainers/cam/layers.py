"""Outputs of a classifier's layers, and the last layer with finer cells than the map layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explainers.classifiers import Classifier


def layer_outputs(
    classifier: Classifier, images: NDArray[np.uint8], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Feature maps of some layers, by one forward pass.

    Args:
        images: (N, H, W, 3) uint8.
        layers: module paths.

    Returns:
        (N, channels, h, w) float32 by path; a layer whose output is no feature map, even by the
        classifier's reshape transform, is left out.
    """
    outputs: dict[str, NDArray[np.float32]] = {}

    def keep(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
        cells = _as_cells(classifier, output)
        if cells is not None:
            outputs[path] = cells.detach().to("cpu", torch.float32).numpy().copy()

    handles = []
    try:
        for path in layers:
            layer = classifier.module.get_submodule(path)
            handles.append(layer.register_forward_hook(partial(keep, path)))
        classifier.predict_proba(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def finer_layer(classifier: Classifier, image: NDArray[np.uint8]) -> str | None:
    """The last stage or block with at least twice as many cells a side as the layer of the maps.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        Its module path; ``None`` where all layers have cells of one size, as in a transformer.
    """
    assert classifier.cam_layer is not None
    names = stage_names(classifier.module)
    if classifier.cam_layer not in names:
        names.append(classifier.cam_layer)
    outputs = layer_outputs(classifier, image[None], names)
    last = outputs.get(classifier.cam_layer)
    if last is None:
        return None
    order = [path for path in outputs if path != classifier.cam_layer]  # in the order of the calls
    finer = [
        path
        for path in order
        if outputs[path].shape[2] >= 2 * last.shape[2]
        and outputs[path].shape[3] >= 2 * last.shape[3]
    ]
    return finer[-1] if finer else None


def stage_names(module: nn.Module) -> list[str]:
    """Module paths of the parts and of the entries of sequences: blocks, but not their insides."""
    return list(_stages(module, ""))


def _stages(module: nn.Module, path: str) -> Iterator[str]:
    for name, child in module.named_children():
        full = f"{path}.{name}" if path else name
        if isinstance(child, nn.Sequential):
            yield from _stages(child, full)
        yield full


def _as_cells(classifier: Classifier, output: Any) -> torch.Tensor | None:
    if not isinstance(output, torch.Tensor) or output.ndim < 3:
        return None
    if classifier.reshape_transform is not None:
        try:
            output = classifier.reshape_transform(output)
        except (RuntimeError, IndexError, ValueError):  # made for the blocks, not for this layer
            return None
    return output if output.ndim == 4 and min(output.shape[2:]) > 1 else None
