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
from explainers.cam import layer_outputs
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput, NotFinite
from explainers.images import Geometry, load_image, prepare

__all__ = ["activation_maps", "unit_activations"]

_POOLINGS = ("mean", "max")  # how the cells of a feature map become one number
_TOKENS = ("cls", "mean")  # which token of a transformer's sequence is taken
_BATCH = 32
_DECODERS = 4  # processes that read pictures for a GPU; a CPU needs its cores for the network


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
        tokens: ``cls`` or ``mean``: the token taken of sequences (N, T, U).

    Returns:
        (N, U) float32 by layer.

    Raises:
        InvalidInput: a layer, pooling or token is unknown; an output has no units, or NaN.
        InvalidImage: a file is no picture.
    """
    check_layers(classifier, layers)
    if pooling not in _POOLINGS or tokens not in _TOKENS:
        raise InvalidInput(
            f"pooling '{pooling}' with tokens '{tokens}': use one of {', '.join(_POOLINGS)} and of "
            f"{', '.join(_TOKENS)}"
        )
    by_key = {image.sha256: image for image in images}

    def compute(keys: Sequence[str]) -> Iterator[Rows]:
        loader: torch.utils.data.DataLoader[ProbingImage] = torch.utils.data.DataLoader(
            [by_key[key] for key in keys],  # type: ignore[arg-type]  # any sequence works
            batch_size=_BATCH,
            collate_fn=partial(_prepared, classifier.geometry),
            num_workers=_DECODERS if classifier.device.type == "cuda" else 0,
        )
        for some, pixels in loader:
            tables = _pooled_outputs(classifier, pixels.numpy(), layers, pooling, tokens)
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
    """Feature maps of one unit for each of some images.

    Args:
        units: number of the unit, for every image.

    Returns:
        The images in the network's geometry, (n, H, W, 3) uint8, and the maps, (n, h, w) float32;
        ``None`` where the layer has no feature maps.
    """
    _, pixels = _prepared(classifier.geometry, images)
    maps = layer_outputs(classifier, pixels.numpy(), [layer]).get(layer)
    return pixels.numpy(), None if maps is None else maps[np.arange(len(images)), list(units)]


def _pooled_outputs(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    layers: Sequence[str],
    pooling: str,
    tokens: str,
) -> dict[str, NDArray[np.float32]]:
    """(n, U) by layer. If a module is called several times in one forward pass, as a shared
    activation function is, its last output counts."""
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
        with contextlib.suppress(NotFinite):  # of probabilities; the layers' outputs are checked
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
    """(N, U) float32: feature maps (N, U, h, w) are pooled over their cells, of sequences (N, T, U)
    the first token or the mean is taken, flat outputs (N, U) are kept."""
    if output.ndim == 4:
        if classifier.reshape_transform is not None:
            # The transform is made for blocks, and fails for other layers.
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


def _prepared(
    geometry: Geometry, images: Sequence[ProbingImage]
) -> tuple[Sequence[ProbingImage], torch.Tensor]:
    """The images, and their pixels in the geometry, (n, H, W, 3) uint8."""
    pixels = np.stack([prepare(load_image(image.path), geometry) for image in images])
    return images, torch.from_numpy(pixels)
