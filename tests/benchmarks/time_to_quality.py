"""How much sooner a study is as good as the loop a user would write ever gets.

``python -m tests.benchmarks.time_to_quality [--images ...] [--trials 40] [--seeds 3]``

For each photograph: a user's own loop, Optuna's default sampler around stock lime and plain
PyTorch, runs its trials to the end; what it then calls best is scored on explainer seeds that
nobody used. Ours, with default settings and an empty cache, runs until what it calls best is at
least that good on the same fresh seeds. Scoring on fresh seeds is not charged to either.

The vanilla loop is timed on the first explainer seed of every trial; the others, which cost it the
same, are charged at that and computed by the exact fast path. ``--all-seeds`` times them all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from lime.lime_image import LimeImageExplainer

from explainers.classifiers import Classifier
from explainers.lime import LimeParameters, explanation_mask
from explainers.masks import intersection_over_union
from studies.catalog.assets import StudyImage
from studies.results.score import score
from tests.benchmarks.common import (
    benchmark_classifier,
    fresh_score,
    photographs,
    positive,
    run_benchmark,
    say,
    tuning_task,
    vanilla_classifier_fn,
)
from tuner.problem import SearchSpace, TuningSettings, TuningTask
from tuner.tuning import open_study, run_study, study_facts

_OWN_SECONDS = 120.0  # after which ours is given up


def _vanilla(
    options: argparse.Namespace, task: TuningTask, classifier: Classifier, weight: float
) -> tuple[LimeParameters, float, int]:
    """What the loop calls best, its seconds, and the answers it asked for."""
    predict = vanilla_classifier_fn(classifier)
    space = SearchSpace()
    seconds = 0.0
    answers = 0
    tried: list[LimeParameters] = []

    def objective(trial: optuna.Trial) -> float:
        nonlocal seconds, answers
        parameters = space.suggest(trial)
        tried.append(parameters)
        answers += options.seeds * parameters.num_samples
        ious: list[float] = []
        spent: list[float] = []
        try:
            for seed in range(options.seeds):
                if seed and not options.all_seeds:
                    ious.append(task.iou(parameters, seed))
                    continue
                start = time.perf_counter()
                explanation = LimeImageExplainer(random_state=seed).explain_instance(
                    task.image, predict, **parameters.as_kwargs()
                )
                mask = explanation_mask(explanation)
                ious.append(intersection_over_union(mask, task.reference.mask))
                spent.append(time.perf_counter() - start)
        except (ValueError, np.linalg.LinAlgError):
            return -1.0  # such settings raise before they have cost much
        seconds += sum(spent) * options.seeds / len(spent)
        return score(float(np.mean(ious)), task.runtime_ratio(parameters), weight)

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=options.study_seed)
    )
    study.optimize(objective, n_trials=options.trials)
    return tried[study.best_trial.number], seconds, answers


def _ours(
    options: argparse.Namespace, task: TuningTask, classifier: Classifier, image: StudyImage
) -> list[tuple[float, int, int, LimeParameters]]:
    """(seconds, answers, trial, parameters) whenever another trial became the best."""
    settings = TuningSettings(
        trials=1000,
        timeout=options.own_seconds,
        seed=options.study_seed,
        constrain="none",
    )
    held: list[tuple[float, int, int, LimeParameters]] = []
    start = time.perf_counter()
    facts = study_facts(task, classifier, settings, catalog="", key=image.key)
    study = open_study(image.key, None, facts)

    def on_trial(trial: optuna.trial.FrozenTrial) -> None:
        complete = trial.state == optuna.trial.TrialState.COMPLETE
        if complete and study.best_trial.number == trial.number:
            parameters = LimeParameters.from_json(trial.user_attrs["lime_parameters"])
            spent = time.perf_counter() - start
            held.append((spent, task.cache.counts.new, trial.number, parameters))

    run_study(study, task, settings, on_trial)
    return held


def _one(
    options: argparse.Namespace, classifier: Classifier, image: StudyImage, folder: Path
) -> dict[str, Any]:
    weight = TuningSettings().runtime_weight
    task = tuning_task(image, classifier, cache=folder, engine=options.engine)
    held = _ours(options, task, classifier, image)
    chosen, vanilla, answers = _vanilla(options, task, classifier, weight)
    target = fresh_score(task, chosen, weight)
    reached: dict[str, Any] = {"ours_seconds": None, "ratio": 0.0}
    own = -1.0
    for seconds, asked, number, parameters in held:
        own = fresh_score(task, parameters, weight)
        if own >= target and reached["ours_seconds"] is None:
            reached = {
                "ours_seconds": round(seconds, 2),
                "ours_answers": asked,
                "ours_trial": number,
                "ratio": round(vanilla / seconds, 1),
            }
    task.cache.close()
    return {
        "vanilla_score": round(target, 4),
        "vanilla_seconds": round(vanilla, 1),
        "vanilla_answers": answers,
        **reached,
        "ours_score_in_the_end": round(own, 4),
    }


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    classifier = benchmark_classifier(options, folder)
    keys = tuple(options.images.split(",")) if options.images else None
    results = {}
    for image in photographs(classifier, options.assets, keys):
        results[image.key] = _one(options, classifier, image, folder / image.key)
        say(f"{image.key}: {results[image.key]}")
    return {
        "engine": options.engine,
        "trials": options.trials,
        "seeds": options.seeds,
        "vanilla_timed": "all seeds" if options.all_seeds else "first seed of every trial",
        "median_ratio": median(r["ratio"] for r in results.values()),
        "images": results,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.time_to_quality")
    parser.add_argument("--images", default=None, help="keys, separated by commas; default: ten")
    parser.add_argument("--trials", type=positive, default=40, help="of the vanilla loop")
    parser.add_argument("--seeds", type=positive, default=3, help="explainer seeds a vanilla trial")
    parser.add_argument("--all-seeds", action="store_true", help="time the vanilla loop on all")
    parser.add_argument("--own-seconds", type=float, default=_OWN_SECONDS, help="for ours")
    parser.add_argument("--study-seed", type=int, default=0)
    parser.add_argument("--engine", default="auto")
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
