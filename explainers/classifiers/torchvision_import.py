"""The one place that imports torchvision.

torchvision's compiled operators may be missing (a build made for another torch, which is what
the package index pairs with a CPU-only torch). Models and transforms use none of them, but the
import registers a Python kernel for ``torchvision::nms`` and fails when no schema of that name
was declared. Declaring the schemas first is enough; a matching pair of builds is left alone.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch

__all__ = ["import_torchvision"]

# A torch.library.Library takes its schemas with it when it is collected.
_kept_alive: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, with stand-in operator schemas when its own cannot be loaded."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # The failed import leaves half-initialised modules behind.
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _kept_alive.append(library)
    return importlib.import_module("torchvision")
