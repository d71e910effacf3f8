"""Against the loop a user would write: Optuna around stock lime, nothing shared.

Ours runs a study from an empty cache. The vanilla loop is then given its very parameter sets and
explainer seeds: a fresh ``LimeImageExplainer`` each time, plain PyTorch behind it, every image
transformed on its own. Scores must be equal, only the time differs. Trials that ours refused by
their ceiling, or stopped early, are run in full by the vanilla loop, which cannot know. To compare
all of them, ours runs them in full as well afterwards, not timed: once with the engine, once with
PyTorch.

``engine_share`` is the part of our seconds in which the engine answered; on CUDA ``forward_share``
is the part in which the device computed forward passes.

Two limits are printed. *By limit*: our seconds relative to the distinct answers that the whole
sequence needs, at the engine's raw throughput; without stopping trials nobody can be faster. *By
asked*: relative to the answers that ours really asked for.

Last, every explanation of the study is computed once more from the full cache on disk.

``--speed-only`` compares no scores, which untrained networks do not deserve: of each trial the
vanilla loop is timed on the first seed, which stands for all, and nothing is asked a second time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from optuna.trial import TrialState

from explainers.classifiers import Classifier
from explainers.engines import Engine, TorchEngine
from explainers.lime import (
    LimeParameters,
    Perturbation,
    PredictionCache,
    PredictionCounts,
    Predictor,
    explanation_mask,
)
from explainers.masks import intersection_over_union
from studies.catalog.assets import StudyImage
from tests.benchmarks.common import (
    benchmark_classifier,
    photographs,
    positive,
    raw_throughput,
    run_benchmark,
    say,
    tuning_task,
    vanilla_classifier_fn,
)
from tuner.problem import TuningSettings, TuningTask
from tuner.tuning import open_study, run_study, study_facts

__all__ = ["TimedEngine", "run_ours", "run_vanilla"]

_DEFAULT_IMAGES = "goldfish,racer,kite"
_RAW_IMAGES = 32
_ROUNDING = 1e-12


class TimedEngine:
    """An engine that knows how long it computed.

    Attributes:
        seconds: spent in it; on an accelerator with building the images there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.batch_size = engine.name, engine.batch_size
        self.seconds = 0.0
        if isinstance(engine, TorchEngine) and engine.on_accelerator:
            self.predict_perturbed = partial(self._timed, engine.predict_perturbed)

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._engine.fingerprint

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, C) probabilities."""
        return self._timed(self._engine.predict_proba, images)

    def _timed(self, ask: Callable[..., NDArray[Any]], *given: Any) -> NDArray[Any]:
        start = time.perf_counter()
        answer = ask(*given)
        self.seconds += time.perf_counter() - start
        return answer


class _ForwardClock:
    """Seconds an accelerator spends in an engine's forward passes; elsewhere it measures nothing.

    By events in the device's own queue, which hold nothing up.
    """

    def __init__(self, engine: Engine) -> None:
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._hooks = []
        if isinstance(engine, TorchEngine) and engine.device.type == "cuda":
            self._hooks = [
                engine.module.register_forward_pre_hook(lambda *_: self._begin()),
                engine.module.register_forward_hook(lambda *_: self._events[-1][1].record()),
            ]

    def _begin(self) -> None:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._events.append((start, end))
        start.record()

    def seconds(self) -> float | None:
        """Of all passes so far, after which nothing more is measured."""
        if not self._hooks:
            return None
        for hook in self._hooks:
            hook.remove()
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in self._events) / 1000


class _Brightness:
    """Answers at once, for counting what would be asked: the brighter, the likelier class 0."""

    name, batch_size, fingerprint = "brightness", 64, "brightness"

    def predict_proba(self, images: NDArray[np.uint8], /) -> NDArray[Any]:
        """(N, H, W, 3) uint8 → (N, 10) probabilities."""
        first = 0.5 + images[:, ::8, ::8].mean(axis=(1, 2, 3)) / 512
        rest = np.repeat((1 - first)[:, None] / 9, 9, axis=1)
        return np.concatenate([first[:, None], rest], axis=1).astype(np.float32)


def run_ours(
    task: TuningTask, classifier: Classifier, image: StudyImage, settings: TuningSettings
) -> tuple[optuna.Study, float]:
    """A study in memory, and its seconds."""
    facts = study_facts(task, classifier, settings, catalog="", key=image.key)
    start = time.perf_counter()
    study = open_study(image.key, None, facts)
    run_study(study, task, settings)
    return study, time.perf_counter() - start


def run_vanilla(
    task: TuningTask, classifier: Classifier, sets: list[LimeParameters], seeds: int
) -> tuple[list[list[float]], float]:
    """IoU by set and seed from stock lime, and its seconds."""
    predict = vanilla_classifier_fn(classifier)
    found: list[list[float]] = []

    def objective(trial: optuna.Trial) -> float:
        parameters = sets[trial.number]
        ious = []
        for seed in range(seeds):
            explanation = LimeImageExplainer(random_state=seed).explain_instance(
                task.image, predict, **parameters.as_kwargs()
            )
            ious.append(intersection_over_union(explanation_mask(explanation), task.reference.mask))
        found.append(ious)
        return float(np.mean(ious))

    start = time.perf_counter()
    optuna.create_study(direction="maximize").optimize(objective, n_trials=len(sets))
    return found, time.perf_counter() - start


def _explained(
    task: TuningTask, source: Predictor, cache: PredictionCache, sets: list[LimeParameters],
    seeds: int,
) -> list[list[float]]:  # fmt: skip
    """IoU by set and seed by the exact fast path, every set in full."""
    other = replace(task, source=source, cache=cache)
    return [other.ious(parameters, range(seeds)) for parameters in sets]


def _rerun(task: TuningTask, folder: Path, sets: list[LimeParameters], seeds: int) -> float:
    """Seconds of all explanations with every answer read from disk."""
    start = time.perf_counter()
    cache = PredictionCache(folder)
    _explained(task, task.source, cache, sets, seeds)
    asked = cache.counts.new
    cache.close()
    seconds = time.perf_counter() - start
    if asked:
        raise RuntimeError(f"the cache was not full: {asked} answers were asked again")
    return seconds


def _differences(ours: list[list[float]], theirs: list[list[float]]) -> list[float]:
    """Largest difference of each trial, over the seeds that both have."""
    return [
        max((abs(a - b) for a, b in zip(mine, other, strict=False)), default=0.0)
        for mine, other in zip(ours, theirs, strict=True)
    ]


def _raw(task: TuningTask, engine: Engine) -> float:
    """Images a second of the engine alone, on perturbed images of lime's default superpixels."""
    segments = task.segments(None)
    count = max(_RAW_IMAGES, 4 * engine.batch_size)
    rows = np.random.default_rng(0).integers(0, 2, (count, int(segments.max()) + 1))
    return raw_throughput(engine, Perturbation(task.image, segments, None).images(rows))


def _one(
    options: argparse.Namespace, classifier: Classifier, image: StudyImage, folder: Path
) -> dict[str, Any]:
    task = tuning_task(image, classifier, cache=folder, engine=options.engine)
    engine: Any = task.source
    raw = _raw(task, engine)
    task = tuning_task(image, classifier, cache=folder / "study", engine=options.engine)
    timed = task.source = TimedEngine(engine)
    settings = TuningSettings(
        constrain="none",
        trials=options.trials, seeds=options.seeds, confirm_seeds=0, sampler=options.sampler,
    )  # fmt: skip
    clock = _ForwardClock(engine)
    study, ours = run_ours(task, classifier, image, settings)
    in_forward = clock.seconds()
    counts = task.cache.counts
    task.cache.close()
    raw = max(raw, _raw(task, engine))
    trials = [t for t in study.trials if "lime_parameters" in t.user_attrs][: options.trials]
    sets = [LimeParameters.from_json(t.user_attrs["lime_parameters"]) for t in trials]
    say(f"{image.key}: ours {ours:.1f} s, {counts.new} answers; vanilla runs {len(sets)} trials")
    shares = {"engine_share": round(timed.seconds / ours, 3)}
    if in_forward is not None:
        shares["forward_share"] = round(in_forward / ours, 3)
    if options.speed_only:
        _, vanilla = run_vanilla(task, classifier, sets, 1)
        vanilla *= options.seeds
        counting = PredictionCache()
        _explained(task, _Brightness(), counting, sets, options.seeds)
        figures = _figures(ours, vanilla, counts, counting.counts.new, raw)
        return {**_sizes(trials, sets, options.seeds), **figures, **shares}
    theirs, vanilla = run_vanilla(task, classifier, sets, options.seeds)
    stored = [list(t.user_attrs["iou_per_seed"]) for t in trials]
    # What ours never asked (refused and stopped trials) is asked now: every trial is compared.
    filler = PredictionCache(folder / "study")
    full = _explained(task, engine, filler, sets, options.seeds)
    sequence = counts.new + filler.counts.new
    filler.close()
    rerun = _rerun(task, folder / "study", sets, options.seeds)
    plain = TorchEngine(classifier)
    by_torch = _explained(task, plain, PredictionCache(), sets, options.seeds)
    study_differs, engine_differs, torch_differs = (
        _differences(found, theirs) for found in (stored, full, by_torch)
    )
    return {
        **_sizes(trials, sets, options.seeds),
        "largest_difference_stored": round(max(study_differs), 6),  # stored with six decimals
        "different_trials": sum(d > _ROUNDING for d in engine_differs),
        "largest_difference": max(engine_differs),
        "different_trials_torch": sum(d > _ROUNDING for d in torch_differs),
        "largest_difference_torch": max(torch_differs),
        **_figures(ours, vanilla, counts, sequence, raw),
        **shares,
        "rerun_seconds": round(rerun, 3),
        "rerun_ratio": round(vanilla / rerun, 1),
    }


def _sizes(
    trials: Sequence[optuna.trial.FrozenTrial], sets: Sequence[LimeParameters], seeds: int
) -> dict[str, int]:
    return {
        "compared_trials": len(sets),
        "finished_by_ours": sum(t.state == TrialState.COMPLETE for t in trials),
        "answers_of_vanilla": sum(s.num_samples for s in sets) * seeds,
    }


def _figures(
    ours: float, vanilla: float, counts: PredictionCounts, sequence: int, raw: float
) -> dict[str, float]:
    """What is said of every run.

    Args:
        counts: of our study.
        sequence: distinct answers that all trials in full need.
        raw: the engine's images a second.
    """
    return {
        "ours_seconds": round(ours, 2),
        "vanilla_seconds": round(vanilla, 2),
        "ratio": round(vanilla / ours, 1),
        "answers_needed": counts.needed,
        "answers_repeated": counts.repeated,
        "answers_new": counts.new,
        "answers_of_sequence": sequence,
        "raw_per_second": round(raw, 1),
        "limit_seconds": round(sequence / raw, 2),
        "ours_by_limit": round(ours * raw / sequence, 3),
        "asked_seconds": round(counts.new / raw, 2),
        "ours_by_asked": round(ours * raw / counts.new, 3),
    }


def _over_images(
    results: dict[str, dict[str, Any]], join: Callable[[Iterable[Any]], Any], names: tuple[str, ...]
) -> dict[str, Any]:
    """Figures of all images together, as far as they were taken."""
    taken = [name for name in names if all(name in r for r in results.values())]
    return {name: join(r[name] for r in results.values()) for name in taken}


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    classifier = benchmark_classifier(options, folder)
    results = {}
    for image in photographs(classifier, options.assets, tuple(options.images.split(","))):
        results[image.key] = _one(options, classifier, image, folder / image.key)
        say(f"{image.key}: {results[image.key]}")
    ours = sum(r["ours_seconds"] for r in results.values())
    vanilla = sum(r["vanilla_seconds"] for r in results.values())
    rerun = sum(r.get("rerun_seconds", 0.0) for r in results.values())
    return {
        "engine": options.engine,
        "sampler": options.sampler,
        "trials": options.trials,
        "seeds": options.seeds,
        "ours_seconds": round(ours, 2),
        "vanilla_seconds": round(vanilla, 2),
        "ratio": round(vanilla / ours, 1),
        "ours_by_limit": round(ours / sum(r["limit_seconds"] for r in results.values()), 3),
        "ours_by_asked": round(ours / sum(r["asked_seconds"] for r in results.values()), 3),
        **_over_images(results, sum, ("compared_trials", "finished_by_ours", "rerun_seconds")),
        **_over_images(results, sum, ("different_trials", "different_trials_torch")),
        **_over_images(
            results,
            max,
            ("largest_difference_stored", "largest_difference", "largest_difference_torch"),
        ),
        **({"rerun_ratio": round(vanilla / rerun, 1)} if rerun else {}),
        "images": results,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.vanilla_loop")
    parser.add_argument("--images", default=_DEFAULT_IMAGES, help="keys, separated by commas")
    parser.add_argument("--trials", type=positive, default=40)
    parser.add_argument("--seeds", type=positive, default=3, help="explainer seeds a trial")
    parser.add_argument("--sampler", default="tpe", help="who proposes (default tpe)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument(
        "--speed-only", action="store_true", help="do not compare scores: for untrained networks"
    )
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
