"""Who proposes trials: the default sampler and Optuna's, and what a new study tries first."""

from __future__ import annotations

from tuner.samplers.candidates import FEW_SUPERPIXELS, Arm, Arms
from tuner.samplers.catalog_candidates import BestSoFar, CatalogArms, Steps, paired
from tuner.samplers.ceiling import CeilingSampler
from tuner.samplers.front import front_weights
from tuner.samplers.registry import SAMPLERS, derived_seed, make_sampler
from tuner.samplers.warm_start import (
    STARTERS,
    enqueue_first,
    enqueue_portfolio,
    faithful_starters,
)

__all__ = [
    "FEW_SUPERPIXELS", "SAMPLERS", "STARTERS", "Arm", "Arms", "BestSoFar", "CatalogArms",
    "CeilingSampler", "Steps", "derived_seed", "enqueue_first", "enqueue_portfolio",
    "faithful_starters", "front_weights", "make_sampler", "paired",
]  # fmt: skip
