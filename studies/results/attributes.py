"""The names under which a study's facts are stored. Others' programs read them: never rename."""

from __future__ import annotations

__all__ = [
    "DEFAULTS_ORIGIN", "FAILURE", "LABEL", "LABELS", "PICTURES", "RETRIES", "STUDY_ATTRIBUTES",
    "TRANSFER", "TRIAL_ATTRIBUTES", "WORKER",
]  # fmt: skip

DEFAULTS_ORIGIN = "lime defaults"
"""``origin`` of the trial that holds lime's own defaults; other trials may have other origins."""

TRANSFER = "transfer"
"""Study attribute of a catalogue's study: what cross-validation over images has found."""

LABEL = "label"
"""Study attribute: the class that lime is asked for by its number (``labels=(k,)``), or null where
the explained class is the classifier's likeliest, which lime explains unasked."""

LABELS = "labels"
"""Study attribute of a catalogue's study: the same by image key, of images that have one."""

PICTURES = "pictures"
"""Study attribute: paths of its pictures in the dashboard, by what they show."""

STUDY_ATTRIBUTES = (
    "catalog", "image_key", "classifier", "class_index", "reference", "mask_rule",
    "runtime_weight", "package_versions",
)  # fmt: skip
TRIAL_ATTRIBUTES = (
    "iou", "iou_per_seed", "seeds", "runtime_seconds", "runtime_ratio", "runtime_parts",
    "superpixels", "lime_parameters", "answers",
)  # fmt: skip
RETRIES = "retry_history"
"""Trial system attribute: numbers of the trials that died of it. Optuna's own name for that."""
WORKER = "worker"
"""Trial attribute: who runs it, or ran it, as ``HOST:PID``."""
FAILURE = "failure"
"""Trial attribute: why it failed, in one line."""
