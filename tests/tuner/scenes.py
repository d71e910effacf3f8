"""Tasks that are solved in seconds: a drawn scene and its network, with a fixed price list."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from explainers.classifiers import Classifier
from explainers.engines import Engine, TorchEngine, make_engine
from explainers.lime import PredictionCache
from explainers.references import Reference
from studies.catalog.demo import DEMO_SEEDS, draw_scene
from tests.tuner.tiny import tiny_picture
from tuner import TuningResult, tune
from tuner.problem import SearchSpace, TuningTask
from tuner.runtime.model import RuntimeModel

RUNTIME_MODEL = RuntimeModel(
    device="made up for tests",
    segmentation={"quickshift": 1e-8, "slic": 4e-7, "felzenszwalb": 6e-8},
    perturb=(1e-4, 1e-5),
    predict={1: 0.004, 10: 0.003, 32: 0.003},
    fit=(0.002, 5e-7),
)

SMALL_SPACE = SearchSpace(
    maps={
        "lime": {},
        "slic": {"n_segments": (5, 8, 12), "compactness": (5, 20)},
        "felzenszwalb": {"scale": (100, 400), "min_size": (100, 300)},
    },
    num_samples=(16, 1000),
)


IMAGE, MASK = tiny_picture("house")


@cache
def demo_engine(classifier: Classifier) -> Engine:
    """What ``--engine auto`` gives: several times faster than the network in PyTorch."""
    scene = draw_scene("house", DEMO_SEEDS["house"])
    return make_engine(classifier, "auto", image=scene.image)


def demo_task(
    classifier: Classifier, key: str = "house", cache: Path | PredictionCache | None = None
) -> TuningTask:
    """The task of one catalogue scene against its exact mask."""
    scene = draw_scene(key, DEMO_SEEDS[key])
    return TuningTask(
        image=scene.image,
        source=demo_engine(classifier),
        reference=Reference(scene.mask, "masks"),
        cache=cache if isinstance(cache, PredictionCache) else PredictionCache(cache),
        runtime_model=RUNTIME_MODEL,
    )


def tiny_task(
    classifier: Classifier, key: str = "house", cache: Path | PredictionCache | None = None
) -> TuningTask:
    """The task of one of ``tests.tuner.tiny``'s pictures against its exact mask."""
    image, mask = tiny_picture(key)
    return TuningTask(
        image=image,
        source=TorchEngine(classifier),
        reference=Reference(mask, "masks"),
        cache=cache if isinstance(cache, PredictionCache) else PredictionCache(cache),
        runtime_model=RUNTIME_MODEL,
    )


def tune_house(classifier: Classifier, **changes: Any) -> TuningResult:
    """The study of :data:`IMAGE`, shortened."""
    options: dict[str, Any] = {
        "trials": 12, "seeds": 3, "space": SMALL_SPACE, "runtime_model": RUNTIME_MODEL,
        "engine": "torch",
    }  # fmt: skip
    return tune(IMAGE, classifier, MASK, **{**options, **changes})


def outcome(result: TuningResult) -> list[tuple[Any, ...]]:
    """What two studies that are the same have in common."""
    return [(t.number, t.state, t.value, t.params) for t in result.study.trials]
