"""Names of the attributes of studies and trials. Other programs read them: never rename them."""

from __future__ import annotations

__all__ = [
    "DEFAULTS_ORIGIN", "FAILURE", "FIDELITY", "LABEL", "LABELS", "PENALTY", "PICTURES",
    "PREPARED", "RETRIES", "STUDY_ATTRIBUTES", "TRANSFER", "TRIAL_ATTRIBUTES", "WORKER",
]  # fmt: skip

DEFAULTS_ORIGIN = "lime defaults"
"""``origin`` of the trial of lime's own defaults; other trials may have other origins."""

TRANSFER = "transfer"
"""Attribute of a catalogue's study: the result of cross-validation over images."""

LABEL = "label"
"""Study attribute: the class index that lime gets (``labels=(k,)``), or null where the explained
class is the classifier's likeliest, which lime explains by default."""

LABELS = "labels"
"""Attribute of a catalogue's study: ``LABEL`` by image key, of images where it is not null."""

PICTURES = "pictures"
"""Study attribute: paths of its pictures in the dashboard, by name of the picture."""

PREPARED = "prepared"
"""Study attribute: how its image was made: ``file`` (name of the photograph; null for a drawn
scene), ``resize`` and ``crop`` in pixels, and ``classifier`` (arguments of ``load_classifier``)."""

STUDY_ATTRIBUTES = (
    "catalog", "image_key", "classifier", "class_index", "reference", "mask_rule",
    "runtime_weight", "package_versions",
)  # fmt: skip
TRIAL_ATTRIBUTES = (
    "iou", "iou_per_seed", "seeds", "runtime_seconds", "runtime_ratio", "runtime_parts",
    "superpixels", "lime_parameters", "answers",
)  # fmt: skip
RETRIES = "retry_history"
"""Trial system attribute, named as Optuna does: numbers of earlier attempts whose workers died."""
WORKER = "worker"
"""Trial attribute: the process that runs or ran it, as ``HOST:PID``."""
FIDELITY = "fidelity"
"""Trial attribute: held-out R² and insertion minus deletion, as ``r2`` and ``gain``, of lime's
defaults and of trials that were about to win, in a study with a constraint."""
PENALTY = "penalty"
"""Trial attribute: what is off its score because it explains less than its study's constraint
allows, at least that where the trial has no ``fidelity``; absent where nothing is."""
FAILURE = "failure"
"""Trial attribute: why it failed, in one line."""
