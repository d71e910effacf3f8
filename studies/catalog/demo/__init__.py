"""The drawn scenes of the catalogue ``demo``; ``train`` trains the network that classifies them."""

from studies.catalog.demo.scenes import (
    CLASS_NAMES,
    CLASS_TYPES,
    DEMO_SEEDS,
    SCENE_SIZE,
    draw_scene,
)

__all__ = ["CLASS_NAMES", "CLASS_TYPES", "DEMO_SEEDS", "SCENE_SIZE", "draw_scene"]
