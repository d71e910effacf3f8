"""Read facts about the studies of a storage by a few SQL queries, without loading all trials.

Optuna's own ``get_all_study_summaries`` and ``get_trials`` read everything, which is too slow for
a status line. Nothing is written.
"""

from __future__ import annotations

from studies.queries.activity import FailedTrial, StudyActivity, activity
from studies.queries.damage import damage_in
from studies.queries.overview import (
    StudyOverview,
    best_parameters,
    overview,
    reliability_of,
    study_attributes,
    study_names,
)
from studies.queries.trials import complete_trials

__all__ = [
    "FailedTrial", "StudyActivity", "StudyOverview", "activity", "best_parameters",
    "complete_trials", "damage_in", "overview", "reliability_of", "study_attributes",
    "study_names",
]  # fmt: skip
