"""Labels by everything they depend on, so that the same question is computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from dissection.class_truth import ClassTruth
from dissection.describe import LayerDescription, Unit
from dissection.feature_cache import FeatureCache
from dissection.similarity import Probing

__all__ = ["cached_description"]

_VERSION = 1  # of what the labels are computed by


def cached_description(
    cache: FeatureCache | None,
    probing: Probing,
    concepts: Sequence[str],
    settings: object,
    compute: Callable[[], LayerDescription],
) -> LayerDescription:
    """From the cache, or computed and kept; the layer's marginal is not kept.

    Args:
        settings: whatever else decides the labels; its ``repr`` is part of the key.
    """
    if cache is None:
        return compute()
    key = _key(probing, concepts, settings)
    known = cache.read_document(key)
    if known is None:
        found = compute()
        cache.write_document(key, _packed(found))
        return found
    return _unpacked(known)


def _key(probing: Probing, concepts: Sequence[str], settings: object) -> str:
    digest = hashlib.sha256(f"labels {_VERSION} {settings!r}".encode())
    digest.update(json.dumps(list(concepts)).encode())
    for table in (probing.images, probing.texts, probing.activations):
        digest.update(f"{tuple(table.shape)} {table.dtype}".encode())
        plain = table.detach().cpu().contiguous().view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()


def _packed(found: LayerDescription) -> bytes:
    document = {
        "model": found.model,
        "layer": found.layer,
        "level": found.level,
        "by_size": found.by_size,
        "truth": None if found.truth is None else asdict(found.truth),
        "units": [asdict(unit) for unit in found.units],
    }
    return json.dumps(document).encode()


def _unpacked(content: bytes) -> LayerDescription:
    document = json.loads(content)
    lists = ("concepts", "scores")
    return LayerDescription(
        document["model"],
        document["layer"],
        tuple(
            Unit(**{**unit, **{name: tuple(unit[name]) for name in lists}})
            for unit in document["units"]
        ),
        document["level"],
        by_size=tuple((int(size), float(share)) for size, share in document["by_size"]),
        truth=None if document["truth"] is None else ClassTruth(**document["truth"]),
    )
