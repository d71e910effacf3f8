"""What is searched: the space of parameters, the task, how a study is run and when trials stop."""

from __future__ import annotations

from tuner.problem.catalog_task import MEAN, Aggregate, CatalogTask
from tuner.problem.incumbent import Incumbent, incumbent_of, paired
from tuner.problem.search_space import (
    ALL_FEATURES,
    CATEGORICAL_DIMENSIONS,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
    load_space,
)
from tuner.problem.settings import TuningSettings
from tuner.problem.stopping import RUNGS, BoundsStopping, StoppingRule
from tuner.problem.task import FEW_SUPERPIXELS, MapView, SearchTask, TuningTask

__all__ = [
    "ALL_FEATURES", "CATEGORICAL_DIMENSIONS", "FEW_SUPERPIXELS", "HIDE_COLORS", "LIME_DEFAULT",
    "MEAN", "RUNGS", "Aggregate", "BoundsStopping", "CatalogTask", "Incumbent", "MapView",
    "SearchSpace", "SearchTask", "StoppingRule", "TuningSettings", "TuningTask", "incumbent_of",
    "load_space", "paired",
]  # fmt: skip
