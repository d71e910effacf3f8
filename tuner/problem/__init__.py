"""What is searched: the space of parameters, the task, how a study is run and when trials stop."""

from __future__ import annotations

from tuner.problem.catalog_task import MEAN, Aggregate, CatalogTask
from tuner.problem.search_space import (
    ALL_FEATURES,
    CATEGORICAL_DIMENSIONS,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
    load_space,
)
from tuner.problem.settings import TuningSettings
from tuner.problem.stopping import LOOKS, BoundsStopping, Rival, StoppingRule
from tuner.problem.task import MapView, SearchTask, TuningTask

__all__ = [
    "ALL_FEATURES", "CATEGORICAL_DIMENSIONS", "HIDE_COLORS", "LIME_DEFAULT", "LOOKS", "MEAN",
    "Aggregate", "BoundsStopping", "CatalogTask", "MapView", "Rival", "SearchSpace", "SearchTask",
    "StoppingRule", "TuningSettings", "TuningTask", "load_space",
]  # fmt: skip
