"""A task that is evaluated in a moment, and evaluators that need no process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.catalog.demo import DEMO_SEEDS, draw_scene
from studies.export import plain_kwargs
from studies.web.evaluator import GradingTask, Limits, write_task
from tests.studies.export.hostile_pickles import entry

__all__ = ["FakeEvaluator", "demo_folder", "demo_task", "good"]

KEYS = tuple(DEMO_SEEDS)[:2]


def demo_task(keys: tuple[str, ...] = KEYS) -> GradingTask:
    """Drawn scenes, their exact masks, and the network that ships with the package."""
    scenes = {key: draw_scene(key, DEMO_SEEDS[key]) for key in keys}
    return GradingTask(
        images={key: scene.image for key, scene in scenes.items()},
        references={key: scene.mask for key, scene in scenes.items()},
        rule="masks",
        classifier_spec={"model": "demo", "device": "cpu"},
    )


def demo_folder(folder: Path, keys: tuple[str, ...] = KEYS) -> Path:
    """The same, written where an evaluator reads it."""
    write_task(demo_task(keys), folder)
    return folder


def good(keys: tuple[str, ...] = KEYS, **changes: Any) -> dict[str, dict[str, Any]]:
    """Plain parameters that are quick to evaluate."""
    return {key: plain_kwargs(entry(**changes)) for key in keys}


class FakeEvaluator:
    """Answers with a number of the submission's own, when it is told to.

    Attributes:
        gate: evaluations wait until it is set.
        failure: raised instead of an answer.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.started = self.killed = 0
        self.busy = threading.Event()

    def start(self) -> None:
        self.started += 1

    def kill(self) -> None:
        self.killed += 1
        self.gate.set()

    def evaluate(
        self, parameters: Mapping[str, Mapping[str, Any]], limits: Limits
    ) -> dict[str, dict[str, Any]]:
        del limits
        self.busy.set()
        self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return {
            key: {"iou": plain["num_samples"] / 10_000, "time": 1.0, "label": "cat"}
            for key, plain in parameters.items()
        }
