"""The images that drive each unit most."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from explainers.errors import InvalidInput

__all__ = ["top_images"]

_UNITS = 256  # transposed at a time


def top_images(activations: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers of the most activating images of each unit, strongest first.

    Images that a unit answers equally are put in an order drawn by chance, the same whenever the
    unit's activations are the same. With a fixed order all units that fire rarely would share the
    first images of the folder, and with them a concept.

    Args:
        activations: (N, U).
        count: how many.

    Returns:
        (count, U) int64, on the device of the activations.

    Raises:
        InvalidInput: there are fewer images than that.
    """
    images, units = activations.shape
    if images < count:
        raise InvalidInput(
            f"{images} probing images are fewer than the {count} most activating ones that are "
            "compared: give more images, or a similarity with a smaller top_k"
        )
    found = torch.empty((count, units), dtype=torch.int64, device=activations.device)
    for start in range(0, units, _UNITS):
        rows = activations[:, start : start + _UNITS].to(torch.float32).t().contiguous()
        values, indices = rows.topk(min(count + 1, images), dim=1)
        tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
        for row in tied.nonzero()[:, 0].tolist():
            indices[row, :count] = _ties_by_chance(rows[row], count).to(indices.device)
        found[:, start : start + _UNITS] = indices[:, :count].t()
    return found


def _ties_by_chance(row: torch.Tensor, count: int) -> torch.Tensor:
    values = row.cpu().numpy()
    chance = np.random.default_rng(zlib.crc32(values.tobytes())).permutation(len(values))
    return torch.from_numpy(np.lexsort((chance, -values))[:count])
