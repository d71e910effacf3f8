"""How well the runtime model foretells what ``verify`` will measure.

``python -m tests.benchmarks.runtime_model [--sets 30] [--seeds 1]``

The model is calibrated afresh. Random parameter sets of the search space, spread over the
photographs, are explained by stock lime exactly as ``verify`` does it: a process each.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

from explainers.errors import LimeTunerError
from explainers.lime import LimeParameters
from studies.catalog.assets import StudyImage
from studies.export import FIRST_FRESH_SEED, VerificationCase, verify_image
from tests.benchmarks.common import (
    benchmark_classifier,
    photographs,
    positive,
    run_benchmark,
    say,
    seconds_of,
    tuning_task,
)
from tuner.problem import SearchSpace, TuningTask
from tuner.runtime.measurement import calibrate
from tuner.runtime.model import RuntimeModel, RuntimeParts


@dataclass(frozen=True)
class _Pair:
    """A forecast and what came of it."""

    key: str
    parameters: LimeParameters
    superpixels: int
    parts: RuntimeParts
    seconds: float

    @property
    def error(self) -> float:
        return abs(self.parts.total - self.seconds) / self.seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "image": self.key,
            "error": round(self.error, 4),
            "predicted": round(self.parts.total, 4),
            "real": round(self.seconds, 4),
            "parts": {name: round(value, 4) for name, value in self.parts.as_dict().items()},
            "superpixels": self.superpixels,
            "parameters": self.parameters.to_json(),
        }


def _parameter_sets(count: int, seed: int) -> list[LimeParameters]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    space = SearchSpace()
    return [space.suggest(study.ask()) for _ in range(count)]


def _summary(pairs: list[_Pair]) -> dict[str, Any]:
    predicted = np.array([pair.parts.total for pair in pairs])
    real = np.array([pair.seconds for pair in pairs])
    errors = np.abs(predicted - real) / real
    scale = float(np.median(predicted / real))
    return {
        "median_error": round(float(np.median(errors)), 4),
        "p90_error": round(float(np.quantile(errors, 0.9)), 4),
        "spearman": round(float(stats.spearmanr(predicted, real)[0]), 4)
        if len(pairs) > 2
        else None,
        # A score knows ratios of runtimes only: what a common factor explains does no harm.
        "median_predicted_over_real": round(scale, 4),
        "median_error_without_that": round(
            float(np.median(np.abs(predicted / scale - real) / real)), 4
        ),
        "worst": [pair.as_json() for pair in sorted(pairs, key=lambda p: -p.error)[:3]],
    }


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    classifier = benchmark_classifier(options, folder)
    images = photographs(classifier, options.assets)
    models: list[RuntimeModel] = []
    calibration = seconds_of(lambda: models.append(calibrate(classifier, images[0].pixels)))
    say(f"calibrated in {calibration:.1f} s")
    tasks: dict[str, TuningTask] = {}

    def task_of(image: StudyImage) -> TuningTask:
        if image.key not in tasks:
            tasks[image.key] = tuning_task(
                image, classifier, engine="torch", runtime_model=models[0]
            )
        return tasks[image.key]

    assert classifier.spec is not None
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + options.seeds)
    pairs: list[_Pair] = []
    failures: list[str] = []
    for number, parameters in enumerate(_parameter_sets(options.sets, options.seed)):
        image = images[number % len(images)]
        task = task_of(image)
        case = VerificationCase(
            key=image.key,
            image=image.pixels,
            reference=task.reference.mask,
            kwargs=parameters.as_kwargs(),
            classifier_spec=classifier.spec,
        )
        try:
            verdict, _ = verify_image(case, seeds)
        except LimeTunerError as error:
            failures.append(f"{error} with {parameters.to_json()}")
            say(f"{number + 1} of {options.sets}: {error}")
            continue
        superpixels = task.view(parameters.segmentation).superpixels
        seconds = float(np.mean(verdict.seconds))
        pair = _Pair(image.key, parameters, superpixels, task.runtime(parameters), seconds)
        pairs.append(pair)
        say(
            f"{number + 1} of {options.sets}: {image.key}, predicted {pair.parts.total:.2f} s, "
            f"real {seconds:.2f} s"
        )
    if not pairs:
        raise LimeTunerError(f"stock lime failed with every parameter set; first: {failures[0]}")
    return {
        "sets": len(pairs),
        "seeds": options.seeds,
        "calibration_s": round(calibration, 2),
        **_summary(pairs),
        "failed": failures,
        "runtime_model": models[0].to_json(),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.runtime_model")
    parser.add_argument("--sets", type=positive, default=30, help="random parameter sets")
    parser.add_argument("--seeds", type=positive, default=1, help="explainer seeds a set, averaged")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    run_benchmark(parser, _measure)


if __name__ == "__main__":
    main()
