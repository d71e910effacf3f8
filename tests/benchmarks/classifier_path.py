"""How much of an engine's raw speed the prediction cache leaves, and what stock lime would do.

``python -m tests.benchmarks.classifier_path [--model resnet50] [--engines onnxruntime,torch]``

Each round asks a fresh cache in memory for patterns it has never seen, then the engine alone for
the same images, ready made; the two take turns at going first. Stock lime's own loop with plain
PyTorch runs in every round too.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from explainers.classifiers import Classifier
from explainers.engines import ENGINES, Engine, make_engine
from explainers.errors import InvalidInput
from explainers.images import array_digest
from explainers.lime import Perturbation, PredictionCache, Segmentation, hidden_image
from studies.catalog.assets import cache_folder
from tests.benchmarks.common import (
    benchmark_classifier,
    photographs,
    positive,
    raw_throughput,
    run_benchmark,
    say,
    seconds_of,
    vanilla_classifier_fn,
    vanilla_rate,
)


@dataclass
class _Rounds:
    """One engine's rounds.

    Attributes:
        building: share of the path's time in which images were built.
        rest: share in which neither images were built nor the engine answered.
    """

    path: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    building: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)

    def summary(self, engine: Engine, vanilla: float) -> dict[str, Any]:
        ratios = np.array(self.path) / np.array(self.raw)
        return {
            "engine": engine.name,
            "batch_size": engine.batch_size,
            "path_images_per_s": round(max(self.path), 1),
            "raw_images_per_s": round(max(self.raw), 1),
            "path_over_raw": round(float(np.median(ratios)), 4),
            "path_over_raw_of_best": round(max(self.path) / max(self.raw), 4),
            "path_over_raw_rounds": [round(float(r), 4) for r in ratios],
            "building_share": round(float(np.median(self.building)), 4),
            "rest_share": round(float(np.median(self.rest)), 4),
            "times_vanilla": round(max(self.path) / vanilla, 2),
        }


@contextlib.contextmanager
def _timed(owner: object, name: str) -> Iterator[list[float]]:
    """Seconds of every call of a method, while it lasts; ``owner`` is an object or a class."""
    spent: list[float] = []
    original = getattr(owner, name)

    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        result = original(*args)
        spent.append(time.perf_counter() - start)
        return result

    with mock.patch.object(owner, name, timed):
        yield spent


@dataclass(frozen=True, eq=False)
class _Question:
    """The same patterns for everybody.

    Attributes:
        images: the perturbed images, ready made.
    """

    image: NDArray[np.uint8]
    segments: NDArray[np.int64]
    rows: NDArray[np.int64]
    images: NDArray[np.uint8]

    @classmethod
    def of(cls, image: NDArray[np.uint8], superpixels: int, patterns: int) -> _Question:
        segments = _slic(image, superpixels)
        count = int(segments.max()) + 1
        rows = np.random.default_rng(0).integers(0, 2, (patterns, count))
        return cls(image, segments, rows, Perturbation(image, segments, None).images(rows))

    def path(self, engine: Engine, rounds: _Rounds) -> None:
        """Ask through a cache that knows nothing but the image's own answer."""
        cache = PredictionCache()
        digest = array_digest(self.image)
        top = np.argmax(cache.original(engine, self.image, digest), keepdims=True)
        asked = cache.counts.new
        engine.predict_proba(self.images[: engine.batch_size])  # as warm as the engine alone
        with (
            _timed(Perturbation, "__init__") as preparing,
            _timed(Perturbation, "images") as building,
            _timed(engine, "predict_proba") as answering,
        ):
            seconds = seconds_of(
                lambda: cache.predictions(
                    engine, self.image, self.segments, None, self.rows, top, digest
                )
            )
        # On an accelerator the engine builds the images itself, and nothing is seen of it here.
        built = sum(preparing) + sum(building)
        rounds.path.append((cache.counts.new - asked) / seconds)
        rounds.building.append(built / seconds)
        rounds.rest.append(1 - (built + sum(answering)) / seconds)

    def raw(self, engine: Engine, rounds: _Rounds) -> None:
        """Ask the engine alone."""
        rounds.raw.append(raw_throughput(engine, self.images, repeats=1))


def _slic(image: NDArray[np.uint8], superpixels: int) -> NDArray[np.int64]:
    """A slic map with that many superpixels; slic itself makes fewer than it is asked for."""
    best: NDArray[np.int64] | None = None
    for asked in range(superpixels, 2 * superpixels):
        segments = Segmentation.of("slic", n_segments=asked, compactness=20)(image)
        if best is None or abs(segments.max() + 1 - superpixels) < abs(
            best.max() + 1 - superpixels
        ):
            best = segments
        if best.max() + 1 == superpixels:
            break
    assert best is not None
    return best


def _engines(classifier: Classifier, names: list[str], image: NDArray[np.uint8]) -> dict[str, Any]:
    engines: dict[str, Engine] = {}
    for name in names:
        try:
            made = make_engine(classifier, name, image=image, cache=cache_folder() / "engines")
        except InvalidInput as error:
            say(f"left out: {error}")
            continue
        if not made.name.startswith(name):
            say(f"left out: {name} could not be made")  # make_engine has said why
            continue
        engines[name] = made
    if not engines:
        raise InvalidInput(f"none of the engines {', '.join(names)} can be used here")
    return engines


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if options.superpixels < 2:
        raise InvalidInput(f"--superpixels {options.superpixels}: at least 2")
    classifier = benchmark_classifier(options, folder)
    image = photographs(classifier, options.assets)[0].pixels
    engines = _engines(classifier, options.engines.split(","), image)
    question = _Question.of(image, options.superpixels, options.patterns)
    rounds = {name: _Rounds() for name in engines}
    predict = vanilla_classifier_fn(classifier)
    hidden = hidden_image(image, question.segments, None)
    few = question.images[:10].copy()
    plain, own = predict(few), classifier.predict_proba(few)
    vanilla: list[float] = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for name, engine in engines.items():
            steps = [question.path, question.raw]
            for step in steps if number % 2 == 0 else reversed(steps):
                step(engine, rounds[name])
        vanilla.append(vanilla_rate(predict, image, hidden, question.segments, options.vanilla))
    return {
        "patterns": options.patterns,
        "superpixels": question.rows.shape[1],
        "rounds": options.rounds,
        "engines": {n: r.summary(engines[n], max(vanilla)) for n, r in rounds.items()},
        "vanilla_images_per_s": round(max(vanilla), 1),
        "vanilla_bit_equal": bool(np.array_equal(plain, own)),
        "vanilla_largest_difference": float(np.abs(plain - own).max()),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.classifier_path")
    parser.add_argument("--engines", default=",".join(n for n in ENGINES if n != "auto"))
    parser.add_argument("--patterns", type=positive, default=400, help="new patterns a round")
    parser.add_argument("--superpixels", type=int, default=40, help="of the slic map")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument(
        "--vanilla", type=positive, default=100, help="samples of stock lime a round"
    )
    run_benchmark(parser, _measure)


if __name__ == "__main__":
    main()
