from .catalog_task import MEAN, Aggregate, CatalogTask
from .incumbent import Incumbent, incumbent_of, paired
from .search_space import (
    ALL_FEATURES,
    CATEGORICAL_DIMENSIONS,
    HIDE_COLORS,
    LIME_DEFAULT,
    SearchSpace,
    load_space,
)
from .settings import AGREEMENT, FAITHFUL, FIDELITY, TuningSettings
from .spec import PLAN, Machine, StudySpec, stored_settings
from .stopping import RUNGS, BoundsStopping, StoppingRule
from .task import FEW_SUPERPIXELS, MapView, SearchTask, TuningTask

__all__ = [
    "AGREEMENT",
    "ALL_FEATURES",
    "CATEGORICAL_DIMENSIONS",
    "FAITHFUL",
    "FEW_SUPERPIXELS",
    "FIDELITY",
    "HIDE_COLORS",
    "LIME_DEFAULT",
    "MEAN",
    "PLAN",
    "RUNGS",
    "Aggregate",
    "BoundsStopping",
    "CatalogTask",
    "Incumbent",
    "Machine",
    "MapView",
    "SearchSpace",
    "SearchTask",
    "StoppingRule",
    "StudySpec",
    "TuningSettings",
    "TuningTask",
    "incumbent_of",
    "load_space",
    "paired",
    "stored_settings",
]
