"""What the units of a network answer to the probing images."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dissection.feature_cache import FeatureCache
from dissection.layers import POOLINGS, TOKENS, check_layers, hooked, pooled
from dissection.probing_images import ProbingImage
from explainers.classifier import Classifier
from explainers.errors import InvalidInput, NotFinite
from explainers.images import load_image, prepare
from explainers.layer_outputs import layer_outputs

__all__ = ["activation_maps", "unit_activations"]

_BATCH = 32
_DECODERS = 4  # processes that read pictures for a GPU; a processor has none to spare


def unit_activations(
    classifier: Classifier,
    images: Sequence[ProbingImage],
    layers: Sequence[str],
    *,
    pooling: str = "mean",
    tokens: str = "cls",
    cache: FeatureCache | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, NDArray[np.float32]]:
    """Pooled answers of every unit to every image.

    Batches are kept as soon as they are there, so that an interrupted run goes on from its last
    batch, and a picture that has changed is the only one asked about again.

    Args:
        layers: module paths.
        pooling: ``mean`` or ``max`` over the cells of feature maps.
        tokens: ``cls`` or ``mean``, of sequences.
        told: called with images done and images in all.

    Returns:
        (N, U) float32 by layer.

    Raises:
        InvalidInput: an unknown layer, pooling or token; an output that has no units; NaN.
        InvalidImage: a file that is no picture.
    """
    check_layers(classifier, layers)
    if pooling not in POOLINGS or tokens not in TOKENS:
        raise InvalidInput(
            f"pooling '{pooling}' with tokens '{tokens}': use one of {', '.join(POOLINGS)} and of "
            f"{', '.join(TOKENS)}"
        )
    spaces = {layer: _space(classifier, layer, pooling, tokens) for layer in layers}
    keys = [image.sha256 for image in images]
    found = {
        layer: {} if cache is None else cache.read(space, keys) for layer, space in spaces.items()
    }
    missing = {  # of equal pictures one is enough
        image.sha256: image
        for image in images
        if any(image.sha256 not in found[layer] for layer in layers)
    }
    told(len(images) - len(missing), len(images))
    done = len(images) - len(missing)
    for some, pixels in _batches(classifier, list(missing.values())):
        answers = _answers(classifier, pixels, layers, pooling, tokens)
        for layer, rows in answers.items():
            if not np.isfinite(rows).all():
                raise InvalidInput(
                    f"layer '{layer}' of {classifier.name} answers NaN or infinity to "
                    f"{some[0].path} or one of the {len(some) - 1} after it: check the weights"
                )
            found[layer].update(zip((image.sha256 for image in some), rows, strict=True))
            if cache is not None:
                cache.write(spaces[layer], [image.sha256 for image in some], rows)
        done += len(some)
        told(done, len(images))
    return {layer: np.stack([found[layer][key] for key in keys]) for layer in layers}


def activation_maps(
    classifier: Classifier, images: Sequence[ProbingImage], layer: str, units: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Where one unit each fired in some images, to crop what it answered to.

    Args:
        units: one for every image.

    Returns:
        The pictures as the network saw them, (n, H, W, 3) uint8, and the maps, (n, h, w) float32;
        ``None`` where the layer has no feature maps.
    """
    pixels, maps = [], []
    for start in range(0, len(images), _BATCH):
        some = images[start : start + _BATCH]
        seen = np.stack([_prepared(classifier, image) for image in some])
        pixels.append(seen)
        cells = layer_outputs(classifier, seen, [layer]).get(layer)
        if cells is not None:
            chosen = list(units[start : start + _BATCH])
            maps.append(cells[np.arange(len(some)), chosen])
    return np.concatenate(pixels), np.concatenate(maps) if maps else None


def _space(classifier: Classifier, layer: str, pooling: str, tokens: str) -> str:
    facts: Mapping[str, Any] = {
        "classifier": classifier.fingerprint,
        "layer": layer,
        "pooling": pooling,
        "tokens": tokens,
        "geometry": repr(classifier.geometry),
        "reshape": classifier.reshape_transform is not None,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _answers(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    layers: Sequence[str],
    pooling: str,
    tokens: str,
) -> dict[str, NDArray[np.float32]]:
    answers: dict[str, NDArray[np.float32]] = {}

    def keep(path: str, output: torch.Tensor) -> None:
        answers[path] = pooled(classifier, path, output, pooling, tokens).cpu().numpy()

    # Layers are looked at, not the answer; whoever keeps them says which is not finite.
    with hooked(classifier, layers, keep), contextlib.suppress(NotFinite):
        classifier.predict_proba(pixels)
    unused = [layer for layer in layers if layer not in answers]
    if unused:
        raise InvalidInput(
            f"layer '{unused[0]}' of {classifier.name} takes no part in its answer: name another"
        )
    return answers


def _prepared(classifier: Classifier, image: ProbingImage) -> NDArray[np.uint8]:
    return prepare(load_image(image.path), classifier.geometry)


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
