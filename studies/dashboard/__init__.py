"""optuna-dashboard over a storage, and the note, pictures and plot that a study shows in it."""

from studies.dashboard.app import dashboard_app, is_installed, name_score, save_note, save_plot
from studies.dashboard.notes import ScoredTrial, study_note
from studies.dashboard.pictures import (
    DEFAULTS_PICTURE,
    PHOTOGRAPH_PICTURE,
    explanation_picture,
    legend,
    photograph_picture,
    trial_picture,
)
from studies.dashboard.plots import runtime_plot

__all__ = [
    "DEFAULTS_PICTURE", "PHOTOGRAPH_PICTURE", "ScoredTrial", "dashboard_app",
    "explanation_picture", "is_installed", "legend", "name_score", "photograph_picture",
    "runtime_plot", "save_note", "save_plot", "study_note", "trial_picture",
]  # fmt: skip
