"""What one search for a front costs against searches for one score each.

``python -m tests.benchmarks.fronts [--images goldfish,...] [--trials 60] [--weights 0.1,0.5]``

For each photograph one study with two objectives, and for each weight a study of the same number
of trials for the score with that weight, each with an empty cache. What the front's study would
choose by a weight is compared with what the other found: by the studies' own scores, and on
explainer seeds that none of them used. Scores do not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import optuna

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters
from studies.catalog.assets import StudyImage
from studies.results.front import ByWeight
from tests.benchmarks.common import (
    benchmark_classifier,
    fresh_score,
    photographs,
    positive,
    run_benchmark,
    say,
    tuning_task,
)
from tuner.problem import TuningSettings
from tuner.tuning import TuningResult, open_study, run_study, study_facts


def _studied(
    options: argparse.Namespace,
    classifier: Classifier,
    image: StudyImage,
    weight: float,
    *,
    pareto: bool,
) -> tuple[TuningResult, dict[str, Any]]:
    task = tuning_task(image, classifier, engine=options.engine)
    settings = TuningSettings(
        constrain="none",
        trials=options.trials, runtime_weight=weight, sampler=options.sampler,
        seed=options.study_seed, pareto=pareto,
    )  # fmt: skip
    facts = study_facts(task, classifier, settings, catalog="", key=image.key)
    start = time.perf_counter()
    result = run_study(open_study(image.key, None, facts, pareto=pareto), task, settings)
    return result, {
        "answers": task.cache.counts.new,
        "seconds": round(time.perf_counter() - start, 1),
        "stopped": result.pruned,
    }


def _one(
    options: argparse.Namespace, classifier: Classifier, image: StudyImage, weights: Sequence[float]
) -> dict[str, Any]:
    front, spent = _studied(options, classifier, image, weights[0], pareto=True)
    assert front.front is not None
    fresh = tuning_task(image, classifier, engine=options.engine)

    def scores(study: optuna.Study, number: int, weight: float) -> dict[str, Any]:
        attributes = study.trials[number].user_attrs
        parameters = LimeParameters.from_json(attributes["lime_parameters"])
        return {
            "own": round(attributes["iou"] - weight * attributes["runtime_ratio"], 4),
            "fresh": round(fresh_score(fresh, parameters, weight), 4),
            "iou": round(attributes["iou"], 4),
            "ratio": round(attributes["runtime_ratio"], 4),
        }

    found: dict[str, Any] = {"front": {**spent, "points": len(front.front)}}
    for weight in weights:
        alone, spent = _studied(options, classifier, image, weight, pareto=False)
        chosen = ByWeight(weight).of(front.front)
        found[f"{weight:g}"] = {
            "from_front": scores(front.study, chosen.number, weight),
            "alone": {**scores(alone.study, alone.best["number"], weight), **spent},
        }
    return found


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    classifier = benchmark_classifier(options, folder)
    weights = [float(text) for text in options.weights.split(",")]
    keys = tuple(options.images.split(",")) if options.images else None
    results = {}
    for image in photographs(classifier, options.assets, keys):
        results[image.key] = _one(options, classifier, image, weights)
        say(f"{image.key}: {results[image.key]}")

    def lost(weight: float, by: str) -> float:
        """What choosing from the front has cost, on average."""
        found = [result[f"{weight:g}"] for result in results.values()]
        return round(mean(each["alone"][by] - each["from_front"][by] for each in found), 4)

    return {
        "engine": options.engine,
        "sampler": options.sampler,
        "trials": options.trials,
        "lost_own": {f"{w:g}": lost(w, "own") for w in weights},
        "lost_fresh": {f"{w:g}": lost(w, "fresh") for w in weights},
        "images": results,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fronts")
    parser.add_argument("--images", default=None, help="keys, separated by commas; default: ten")
    parser.add_argument("--trials", type=positive, default=60, help="of each study")
    parser.add_argument("--weights", default="0.1,0.5", help="the first is the front's own")
    parser.add_argument("--sampler", default="ceiling")
    parser.add_argument("--study-seed", type=int, default=0)
    parser.add_argument("--engine", default="auto")
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
