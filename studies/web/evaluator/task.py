"""The images and references that submissions are graded with, as files for the processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.masks import MASK_RULE, MaskRule

__all__ = ["TASK_PREFIX", "GradingTask", "Limits", "read_task", "write_task"]

TASK_PREFIX = "lime-tuner-grade-"
"""Prefix of the names of temporary folders with tasks."""
_FACTS = "task.json"


@dataclass(frozen=True)
class Limits:
    """The largest values of a submission that are accepted.

    Attributes:
        upload_bytes: of the pickle.
        samples, batch: of one explanation.
        superpixels: of one image; checked in a segmentation's parameters at the upload, and in its
            result before the image is explained.
        top_labels: of one explanation; each costs a fit.
        cutoff: seconds for a whole submission.
        memory_mb: of the evaluating process, including the classifier.
    """

    upload_bytes: int = 100_000
    samples: int = 5_000
    batch: int = 500
    superpixels: int = 1_000
    top_labels: int = 20
    cutoff: float = 600.0
    memory_mb: int = 4_000


@dataclass(frozen=True, eq=False)
class GradingTask:
    """The images, their reference masks, and how submissions are scored against these.

    Attributes:
        images: (H, W, 3) uint8 by key.
        references: (H, W) bool by key; secret.
        rule: the origin of the references, in words.
        classifier_spec: keyword arguments of ``explainers.classifiers.load_classifier``.
        repeats: explanations of each image, with the seeds ``first_seed``, ``first_seed + 1``, ...
            They are the same for all teams, so that sending a file again gains nothing.
        threads: of the evaluating process.
    """

    images: Mapping[str, NDArray[np.uint8]]
    references: Mapping[str, NDArray[np.bool_]]
    rule: str
    classifier_spec: Mapping[str, Any]
    repeats: int = 1
    first_seed: int = 0
    threads: int = 1
    mask_rule: MaskRule = MASK_RULE

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.images)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything beside the submission that a grade depends on; images only by a digest."""
        digest = hashlib.sha256()
        for key in self.keys:
            digest.update(key.encode() + self.images[key].tobytes())
            digest.update(np.packbits(self.references[key]).tobytes())
        spec = {name: str(value) for name, value in self.classifier_spec.items() if value}
        return {
            "classifier": spec, "repeats": self.repeats, "first_seed": self.first_seed,
            "mask_rule": self.mask_rule.as_kwargs(), "rule": self.rule,
            "sha256": digest.hexdigest(),
        }  # fmt: skip


def write_task(task: GradingTask, folder: Path) -> None:
    """Write a task to a folder for :func:`read_task`."""
    for name in ("images", "references"):
        numbered: dict[str, Any] = {str(n): getattr(task, name)[k] for n, k in enumerate(task.keys)}
        np.savez(folder / f"{name}.npz", **numbered)
    facts = {
        "keys": task.keys, "mask_rule": task.mask_rule.as_kwargs(), "rule": task.rule,
        "classifier_spec": dict(task.classifier_spec), "repeats": task.repeats,
        "first_seed": task.first_seed, "threads": task.threads,
    }  # fmt: skip
    (folder / _FACTS).write_text(json.dumps(facts))


def read_task(folder: Path) -> GradingTask:
    """Read a task that :func:`write_task` has written."""
    facts = json.loads((folder / _FACTS).read_text())
    keys, mask_rule = facts.pop("keys"), MaskRule(**facts.pop("mask_rule"))
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    for name in ("images", "references"):
        with np.load(folder / f"{name}.npz") as loaded:
            arrays[name] = {key: loaded[str(n)] for n, key in enumerate(keys)}
    return GradingTask(arrays["images"], arrays["references"], mask_rule=mask_rule, **facts)
