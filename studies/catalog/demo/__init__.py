"""The drawn scenes of the catalogue ``demo``, and the training of the network for them."""

from studies.catalog.demo.scenes import (
    CLASS_NAMES,
    CLASS_TYPES,
    DEMO_SEEDS,
    SCENE_SIZE,
    draw_scene,
)

__all__ = ["CLASS_NAMES", "CLASS_TYPES", "DEMO_SEEDS", "SCENE_SIZE", "draw_scene"]
