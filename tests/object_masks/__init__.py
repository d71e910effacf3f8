"""Object masks of ``images/extra`` of the real inputs, drawn by hand for this project.

Polygons in the photographs' own coordinates: what the photograph's class name means is inside,
holes are cut out again. They are what references are chosen and measured by; nothing is tuned
to them on a user's machine.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explainers.images import Geometry, prepare
from explainers.references import fill_polygons

__all__ = ["object_masks"]


def object_masks(geometry: Geometry) -> dict[str, NDArray[np.bool_]]:
    """(crop, crop) bool by key of the catalogue."""
    document = json.loads((Path(__file__).parent / "extra.json").read_text())
    masks = {}
    for key, drawn in document.items():
        width, height = drawn["size"]
        mask = fill_polygons(drawn["objects"], (height, width))
        mask &= ~fill_polygons(drawn["holes"], (height, width))
        picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
        masks[key] = prepare(picture, geometry)[..., 0] > 127
    return masks
