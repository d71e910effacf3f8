"""Private copies of the user's networks, also of those that keep results of a forward pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from explainers.errors import LimeTunerError
from explainers.messages import error_line

_DEPTH = 6  # levels of nested containers that are searched for tensors


def copied(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """A copy that shares no parameter with the module.

    torch does not copy tensors that the module has computed and kept (``self.features = ...`` in
    its forward, the weight of ``weight_norm``). They are no parameters, so the copy shares them,
    without their graph.

    Args:
        name: of the module, for messages.

    Raises:
        LimeTunerError: it holds something that cannot be copied: a lock, an open file.
    """
    kept = [vars(part) for part in module.modules()]
    memo = {id(tensor): tensor.detach() for tensor in _computed(kept, _DEPTH)}
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:  # the user's own objects may raise anything
        raise LimeTunerError(
            f"{name} cannot be copied ({error_line(error)}): keep locks, open files and the like "
            "out of the network"
        ) from error


def _computed(value: Any, depth: int) -> Iterator[torch.Tensor]:
    """Tensors in nested containers that are results of operations."""
    if isinstance(value, torch.Tensor) and not value.is_leaf:
        yield value
    if depth and isinstance(value, (Mapping, list, tuple)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _computed(each, depth - 1)
