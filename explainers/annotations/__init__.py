"""Object masks from the files that annotation programs write: LabelMe and COCO.

Coordinates are continuous: the pixel in row 0 and column 0 covers [0, 1] × [0, 1].
"""

from __future__ import annotations

from explainers.annotations.coco import CocoMasks, read_coco
from explainers.annotations.labelme import read_labelme
from explainers.annotations.polygons import fill_polygons
from explainers.annotations.run_lengths import run_lengths_to_mask

__all__ = ["CocoMasks", "fill_polygons", "read_coco", "read_labelme", "run_lengths_to_mask"]
