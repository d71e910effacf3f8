from .catalog_task import MEAN, Aggregate, CatalogTask
from .constraint import DEFAULT_CONSTRAINT, NO_CONSTRAINT, Constraint
from .faithfulness import FaithfulnessMeter
from .incumbent import Incumbent, incumbent_of, paired
from .search_space import (
    ALL_FEATURES,
    CATEGORICAL_DIMENSIONS,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
    load_space,
)
from .settings import AGREEMENT, FAITHFUL, TuningSettings
from .spec import PLAN
from .stopping import RUNGS, BoundsStopping, StoppingRule
from .task import FEW_SUPERPIXELS, MapView, SearchTask, TuningTask

__all__ = [
    "AGREEMENT", "ALL_FEATURES", "CATEGORICAL_DIMENSIONS", "DEFAULT_CONSTRAINT", "FAITHFUL",
    "FEW_SUPERPIXELS", "HIDE_COLORS", "LIME_DEFAULT", "MEAN", "NO_CONSTRAINT", "PLAN",
    "RUNGS", "Aggregate", "BoundsStopping", "CatalogTask", "Constraint", "FaithfulnessMeter",
    "Incumbent", "MapView", "SearchSpace", "SearchTask", "StoppingRule", "TuningSettings",
    "TuningTask", "incumbent_of", "load_space", "paired",
]  # fmt: skip
