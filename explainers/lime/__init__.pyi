from .explainer import draw_rows, explain, explained_label, explanation_mask, segment, top_label
from .mask_replay import FlatSetting, HeldOut, replay
from .parameters import DISTANCE_METRICS, LIME_ARGUMENTS, REGRESSORS, LimeParameters, Regressor
from .perturbation import HideColor, Perturbation, as_lime_hides, hidden_image
from .prediction_cache import PredictionCache, PredictionCounts, Predictor
from .segmentation import (
    SEGMENTERS,
    Segmentation,
    Segmenter,
    lime_algorithm,
    lime_default_segmentation,
)
from .surrogate import effective_samples, lime_kernel, locality

__all__ = [
    "DISTANCE_METRICS",
    "LIME_ARGUMENTS",
    "REGRESSORS",
    "SEGMENTERS",
    "FlatSetting",
    "HeldOut",
    "HideColor",
    "LimeParameters",
    "Perturbation",
    "PredictionCache",
    "PredictionCounts",
    "Predictor",
    "Regressor",
    "Segmentation",
    "Segmenter",
    "as_lime_hides",
    "draw_rows",
    "effective_samples",
    "explain",
    "explained_label",
    "explanation_mask",
    "hidden_image",
    "lime_algorithm",
    "lime_default_segmentation",
    "lime_kernel",
    "locality",
    "replay",
    "segment",
    "top_label",
]
