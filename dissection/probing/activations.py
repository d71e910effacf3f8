"""Activations of a network's units for the probing images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.probing.feature_cache import NO_CACHE, FeatureCache, Rows, space_of
from dissection.probing.images import ProbingImage
from dissection.probing.layers import check_layers
from dissection.progress import Progress
from explainers.classifier import Classifier
from explainers.errors import InvalidInput, NotFinite
from explainers.images import load_image, prepare
from explainers.layer_outputs import layer_outputs

__all__ = ["activation_maps", "unit_activations"]

_POOLINGS = ("mean", "max")  # how the cells of a feature map become one number
_TOKENS = ("cls", "mean")  # which token of a transformer's sequence is taken
_BATCH = 32
_DECODERS = 4  # processes that read pictures for a GPU; a processor has none to spare


def unit_activations(
    classifier: Classifier,
    images: Sequence[ProbingImage],
    layers: Sequence[str],
    *,
    pooling: str = "mean",
    tokens: str = "cls",
    cache: FeatureCache = NO_CACHE,
    on_progress: Progress = lambda share: None,
) -> dict[str, NDArray[np.float32]]:
    """Pooled activations of every unit for every image.

    Args:
        layers: module paths.
        pooling: ``mean`` or ``max`` over the cells of feature maps.
        tokens: ``cls`` or ``mean``, of sequences.

    Returns:
        (N, U) float32 by layer.

    Raises:
        InvalidInput: an unknown layer, pooling or token; an output that has no units; NaN.
        InvalidImage: a file that is no picture.
    """
    check_layers(classifier, layers)
    if pooling not in _POOLINGS or tokens not in _TOKENS:
        raise InvalidInput(
            f"pooling '{pooling}' with tokens '{tokens}': use one of {', '.join(_POOLINGS)} and of "
            f"{', '.join(_TOKENS)}"
        )
    by_key = {image.sha256: image for image in images}

    def compute(keys: Sequence[str]) -> Iterator[Rows]:
        for some, pixels in _batches(classifier, [by_key[key] for key in keys]):
            tables = _pooled_outputs(classifier, pixels, layers, pooling, tokens)
            for layer, table in tables.items():
                if not np.isfinite(table).all():
                    raise InvalidInput(
                        f"layer '{layer}' of {classifier.name} answers NaN or infinity to "
                        f"{some[0].path} or one of the {len(some) - 1} after it: check the weights"
                    )
            yield [image.sha256 for image in some], tables

    spaces = {
        layer: space_of(
            {
                "classifier": classifier.fingerprint,
                "layer": layer,
                "pooling": pooling,
                "tokens": tokens,
                "geometry": repr(classifier.geometry),
                "reshape": classifier.reshape_transform is not None,
            }
        )
        for layer in layers
    }
    return cache.rows(spaces, [image.sha256 for image in images], compute, on_progress)


def activation_maps(
    classifier: Classifier, images: Sequence[ProbingImage], layer: str, units: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Where one unit each is active in some images.

    Args:
        units: one for every image.

    Returns:
        The pictures as the network saw them, (n, H, W, 3) uint8, and the maps, (n, h, w) float32;
        ``None`` where the layer has no feature maps.
    """
    pixels, maps = [], []
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        pixels.append(
            np.stack([prepare(load_image(image.path), classifier.geometry) for image in some])
        )
        cells = layer_outputs(classifier, pixels[-1], [layer]).get(layer)
        if cells is not None:
            maps.append(cells[np.arange(len(some)), list(units[start : start + _BATCH])])
    return np.concatenate(pixels), np.concatenate(maps) if maps else None


def _pooled_outputs(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    layers: Sequence[str],
    pooling: str,
    tokens: str,
) -> dict[str, NDArray[np.float32]]:
    """(n, U) by layer. Of a module that is called several times in one pass, as a shared
    activation function is, the last output counts."""
    found: dict[str, NDArray[np.float32]] = {}

    def keep(path: str, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor):
            raise InvalidInput(
                f"layer '{path}' of {classifier.name} gives a {type(output).__name__}: name a "
                "layer that gives one tensor"
            )
        found[path] = _pooled(classifier, path, output.detach(), pooling, tokens).cpu().numpy()

    with contextlib.ExitStack() as hooks:
        for path in layers:
            layer = classifier.module.get_submodule(path)
            hooks.enter_context(layer.register_forward_hook(partial(keep, path)))
        with contextlib.suppress(NotFinite):  # of the probabilities; layers are checked themselves
            classifier.predict_proba(pixels)
    unused = [layer for layer in layers if layer not in found]
    if unused:
        raise InvalidInput(
            f"layer '{unused[0]}' of {classifier.name} takes no part in its answer: name another"
        )
    return found


def _pooled(
    classifier: Classifier, path: str, output: torch.Tensor, pooling: str, tokens: str
) -> torch.Tensor:
    """One number a unit, (N, U) float32: feature maps (N, U, h, w) are pooled over their cells, of
    sequences (N, T, U) a token is taken or their mean, flat outputs (N, U) stay."""
    if output.ndim == 4:
        if classifier.reshape_transform is not None:
            # It is made for the blocks, and fails for other layers.
            with contextlib.suppress(RuntimeError, IndexError, ValueError):
                output = classifier.reshape_transform(output)
        cells = output.to(torch.float32)
        return cells.mean(dim=(2, 3)) if pooling == "mean" else cells.amax(dim=(2, 3))
    if output.ndim == 3:
        return (output[:, 0] if tokens == "cls" else output.mean(dim=1)).to(torch.float32)
    if output.ndim == 2:
        return output.to(torch.float32)
    raise InvalidInput(
        f"layer '{path}' of {classifier.name} gives shape {tuple(output.shape)}: name a layer with "
        "feature maps (N, U, h, w), tokens (N, T, U) or flat outputs (N, U)"
    )


class _Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """Prepared pictures, (H, W, 3) uint8."""

    def __init__(self, classifier: Classifier, images: Sequence[ProbingImage]) -> None:
        self._geometry = classifier.geometry
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(prepare(load_image(self._images[index].path), self._geometry))


def _batches(
    classifier: Classifier, images: Sequence[ProbingImage]
) -> Iterator[tuple[Sequence[ProbingImage], NDArray[np.uint8]]]:
    """(images, (n, H, W, 3) uint8) batch by batch."""
    loader = torch.utils.data.DataLoader(
        _Pictures(classifier, images),
        batch_size=_BATCH,
        num_workers=_DECODERS if classifier.device.type == "cuda" else 0,
    )
    for number, pixels in enumerate(loader):
        yield images[number * _BATCH : (number + 1) * _BATCH], pixels.numpy()
