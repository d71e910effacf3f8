"""Do settings transfer to photographs that had no say in them?

``python -m tests.benchmarks.transfer [--parts catalog,portfolio,faithful] [--trials 80]``

Settings are chosen on the twenty photographs of ``images/extra`` and measured on the ten of
``tml25``, against Grad-CAM@0.3:

- ``catalog``: one setting for all (``tune --scope catalog``), by stock lime and the clock, beside
  lime's defaults;
- ``portfolio``: the best per image of five settings with at most 96 samples, chosen from what
  ``--image-trials`` trials of each of the twenty found (and the study of ``catalog``, if that part
  is asked for too), and what trying all five takes; ``share`` is relative to what 100 trials of
  each image reach (``--reached``);
- ``faithful``: MobileNet as a black box, tuned without a reference (``--objective faithful``) on
  each of the ten; on how many of them held-out R² and insertion minus deletion are better than
  those of lime's defaults, and the IoU with Grad-CAM that comes with it.

``--storage`` keeps the studies, so that an interrupted run goes on; answers are kept in the cache.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from explainers.classifiers import Classifier
from explainers.engines import make_engine
from explainers.lime import LimeParameters, PredictionCache
from explainers.references import Reference, parse_reference
from studies.catalog import load_catalog
from studies.catalog.assets import StudyImage, cache_folder, load_study_image
from studies.catalog.names import CATALOG_KEY
from studies.export import FIRST_FRESH_SEED, VerificationCase, verify_image
from studies.storage import open_storage
from tests.benchmarks.common import (
    REFERENCE,
    benchmark_classifier,
    photographs,
    positive,
    run_benchmark,
    say,
)
from tuner.portfolio import (
    Portfolio,
    ScoredContenders,
    distinct,
    probed_candidates,
    score_candidates,
    stored_candidates,
)
from tuner.problem import (
    ALL_FEATURES,
    FAITHFUL,
    CatalogTask,
    SearchSpace,
    TuningSettings,
    TuningTask,
)
from tuner.runtime.calibration import runtime_model_for
from tuner.study.catalog import catalog_facts, run_catalog_study
from tuner.study.cross_validation import cross_validate
from tuner.tuning import open_study, run_study, study_facts

_MOST_RUNTIME, _MOST_RUNTIME_FAITHFUL = 0.125, 0.25
_MOST_SAMPLES_FAITHFUL = 400  # batches of five cost less a sample than the defaults' of ten
_MOST_SAMPLES, _SIZE, _EACH, _CANDIDATES, _FOLDS = 96, 5, 6, 60, 5
_CHOOSING_SEEDS = range(3_000_017, 3_000_021)
_FRESH = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + 5)
_NAME = "transfer"


def _tasks(
    images: list[StudyImage], classifier: Classifier, cache: PredictionCache
) -> dict[str, TuningTask]:
    source = make_engine(
        classifier, "auto", image=images[0].pixels, cache=cache_folder() / "engines"
    )
    model = runtime_model_for(classifier, images[0].pixels)
    made = parse_reference(REFERENCE)
    return {
        image.key: TuningTask(
            image.pixels, source, made.of(classifier, image.pixels, image.key), cache, model
        )
        for image in images
    }


def _catalog_study(
    options: argparse.Namespace, classifier: Classifier, task: CatalogTask, storage: Any
) -> tuple[optuna.Study, LimeParameters, dict[str, Any]]:
    settings = TuningSettings(
        constrain="none",
        trials=options.trials, seeds=2, confirm_seeds=4, most_runtime=_MOST_RUNTIME,
        space=SearchSpace().affordable(_MOST_RUNTIME),
    )  # fmt: skip
    facts = catalog_facts(task, classifier, settings, catalog="extra", rule=REFERENCE)
    study = open_study(f"{_NAME}/{CATALOG_KEY}", storage, facts)
    start = time.perf_counter()

    def log_trial(trial: optuna.trial.FrozenTrial) -> None:
        say(f"{time.perf_counter() - start:.0f} s: trial {trial.number} {trial.value}")

    result = run_catalog_study(study, task, settings, log_trial)
    found: dict[str, Any] = {
        "parameters": result.best["parameters"],
        "tuned_on": {"iou": result.iou, "default_iou": result.default["iou"]},
        "trials": result.trials,
    }
    if options.folds:
        transfer = cross_validate(task, settings, result.parameters, options.folds)
        found["cross_validated"] = {
            name: value
            for name, value in transfer.to_json().items()
            if name in ("folds", "tuned", "left_out", "gap")
        }
    return study, result.parameters, found


def _verified(
    parameters: Mapping[str, LimeParameters],
    images: list[StudyImage],
    tasks: Mapping[str, TuningTask],
    classifier: Classifier,
    *,
    has_reference: bool = True,
) -> list[tuple[Any, Any]]:
    found = []
    for image in images:
        say(f"stock lime: {image.key}")
        assert classifier.spec is not None
        case = VerificationCase(
            key=image.key,
            image=image.pixels,
            reference=tasks[image.key].reference.mask,
            kwargs=parameters[image.key].as_kwargs(),
            classifier_spec=classifier.spec,
            has_reference=has_reference,
        )
        found.append(verify_image(case, _FRESH, _FRESH[:1]))
    return found


def _one_setting(
    parameters: LimeParameters,
    images: list[StudyImage],
    tasks: Mapping[str, TuningTask],
    classifier: Classifier,
) -> dict[str, Any]:
    verdicts = _verified(dict.fromkeys(tasks, parameters), images, tasks, classifier)
    iou = float(np.mean([np.mean(v.ious) for v, _ in verdicts]))
    seconds = float(np.mean([np.mean(v.seconds) for v, _ in verdicts]))
    default_seconds = float(np.mean([np.mean(d.seconds) for _, d in verdicts]))
    return {
        "iou": iou,
        "default_iou": float(np.mean([np.mean(d.ious) for _, d in verdicts])),
        "seconds": seconds,
        "default_seconds": default_seconds,
        "share_of_the_defaults_time": seconds / default_seconds,
        # What marking the whole picture gives; less than that is no explanation.
        "whole_picture_iou": float(np.mean([t.reference.mask.mean() for t in tasks.values()])),
        "iou_per_image": {v.key: round(float(np.mean(v.ious)), 4) for v, _ in verdicts},
    }


def _image_studies(
    options: argparse.Namespace, classifier: Classifier, twenty: CatalogTask, storage: Any
) -> dict[str, optuna.Study]:
    """One study of each image, as ``tune`` makes them, of settings that are cheap to try."""
    low, _ = SearchSpace().num_samples
    space = replace(SearchSpace(), num_samples=(low, _MOST_SAMPLES))
    settings = TuningSettings(trials=options.image_trials, space=space, constrain="none")
    studies = {}
    for key, task in twenty.tasks.items():
        facts = study_facts(task, classifier, settings, catalog="extra", key=key)
        studies[key] = open_study(f"{_NAME}-images/{key}", storage, facts)
        result = run_study(studies[key], task, settings)
        say(f"{key}: {result.iou:.3f}")
    return studies


def _portfolio(
    options: argparse.Namespace, catalog_study: optuna.Study | None,
    studies: Mapping[str, optuna.Study], twenty: CatalogTask, ten: Mapping[str, TuningTask],
) -> dict[str, Any]:  # fmt: skip
    candidates = stored_candidates(studies, _MOST_SAMPLES, _EACH)
    if catalog_study is not None:
        candidates += stored_candidates({CATALOG_KEY: catalog_study}, _MOST_SAMPLES, _SIZE)
        candidates += probed_candidates(twenty, catalog_study, _MOST_SAMPLES, _CANDIDATES)
    candidates = distinct(candidates)
    say(f"{len(candidates)} candidates")
    weight = float(next(iter(studies.values())).user_attrs["runtime_weight"])
    scored: ScoredContenders = score_candidates(
        candidates, twenty.tasks, {}, weight, _CHOOSING_SEEDS
    )
    members = scored.chosen(_SIZE)
    made = Portfolio(tuple(candidates[n].parameters for n in members))
    per_image, seconds = {}, {}
    for key, task in ten.items():
        fresh = TuningTask(
            task.image, task.source, task.reference, PredictionCache(), task.runtime_model
        )
        ious = [task.ious(member, _FRESH) for member in made.members]
        per_image[key] = float(max(np.mean(each) for each in ious))
        start = time.perf_counter()
        for member in made.members:
            fresh.iou(member, 0)
        seconds[key] = time.perf_counter() - start
    iou = float(np.mean(list(per_image.values())))
    return {
        "members": [member.to_json() for member in made.members],
        "on_the_twenty": float(scored.scores[members].max(axis=0).mean()),
        "left_out_of_the_twenty": float(scored.left_out(_SIZE, _FOLDS).mean()),
        "iou": iou,
        "share": iou / options.reached,
        "seconds_an_image": {
            "mean": float(np.mean(list(seconds.values()))), "most": max(seconds.values()),
        },
        "iou_per_image": {key: round(value, 4) for key, value in per_image.items()},
    }  # fmt: skip


def _faithful(
    options: argparse.Namespace, classifier: Classifier, images: list[StudyImage],
    tasks: Mapping[str, TuningTask], storage: Any,
) -> dict[str, Any]:  # fmt: skip
    settings = TuningSettings(
        constrain="none",
        trials=options.faithful_trials, seeds=3, sampler="tpe", objective=FAITHFUL,
        # As --fix does: what leaves features out predicts less, the rest is a matter of time only.
        space=replace(
            SearchSpace(), num_samples=(100, _MOST_SAMPLES_FAITHFUL), num_features=(ALL_FEATURES,),
            batch_size=(5,), top_labels=(1,),
        ),
    )  # fmt: skip
    found = {}
    for image in images:
        known = tasks[image.key]
        task = TuningTask(
            image.pixels, known.source, Reference.none(known.reference.mask.shape), known.cache,
            known.runtime_model,
        )  # fmt: skip
        facts = study_facts(task, classifier, settings, catalog="tml25", key=image.key)
        study = open_study(f"{_NAME}-faithful/{image.key}", storage, facts)
        result = run_study(study, task, settings)
        tuned = task.meter.measure(result.parameters, _FRESH[:3])
        baseline = task.meter.measure(LimeParameters(), _FRESH[:3])
        found[image.key] = {
            "r2": [round(baseline.r2, 4), round(tuned.r2, 4)],
            "gain": [round(baseline.gain, 4), round(tuned.gain, 4)],
            "runtime_ratio": task.runtime_ratio(result.parameters),
            "iou_with_gradcam": float(np.mean(known.ious(result.parameters, _FRESH))),
        }
        say(f"{image.key}: {found[image.key]}")
    better = [
        key
        for key, one in found.items()
        if one["r2"][1] > one["r2"][0]
        and one["gain"][1] > one["gain"][0]
        and one["runtime_ratio"] <= _MOST_RUNTIME_FAITHFUL
    ]
    return {
        "better_on": len(better),
        "of": len(found),
        "runtime_ratio": float(np.mean([one["runtime_ratio"] for one in found.values()])),
        "iou_with_gradcam": float(np.mean([one["iou_with_gradcam"] for one in found.values()])),
        "images": found,
    }


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    classifier = benchmark_classifier(options, folder)
    storage = open_storage(options.storage or f"sqlite:///{folder / 'transfer.db'}")
    cache = PredictionCache(cache_folder() / "bank")
    ten = photographs(classifier, options.assets)
    tasks = _tasks(ten, classifier, cache)
    parts = options.parts.split(",")
    document: dict[str, Any] = {}
    if {"catalog", "portfolio"} & set(parts):
        catalog = load_catalog(str(options.assets / "images" / "extra"))
        twenty = CatalogTask(
            _tasks(
                [
                    load_study_image(catalog, each, classifier.geometry, options.assets)
                    for each in catalog.images
                ],
                classifier,
                cache,
            )
        )
        catalog_study = None
        if "catalog" in parts:
            catalog_study, parameters, found = _catalog_study(options, classifier, twenty, storage)
            document["catalog"] = {**found, **_one_setting(parameters, ten, tasks, classifier)}
        if "portfolio" in parts:
            studies = _image_studies(options, classifier, twenty, storage)
            document["portfolio"] = _portfolio(options, catalog_study, studies, twenty, tasks)
    if "faithful" in parts:
        document["faithful"] = _faithful(options, classifier, ten, tasks, storage)
    cache.close()
    return document


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.transfer", description=__doc__)
    parser.add_argument("--parts", default="catalog,portfolio,faithful")
    parser.add_argument("--trials", type=positive, default=80, help="of the catalogue's study")
    parser.add_argument("--image-trials", type=positive, default=100, help="of each of the twenty")
    parser.add_argument("--faithful-trials", type=positive, default=80, help="an image")
    parser.add_argument("--folds", type=int, default=0, help="of a cross-validation; 0 for none")
    parser.add_argument("--reached", type=float, default=0.7375, help="IoU by 100 trials an image")
    parser.add_argument("--storage", help="database that keeps the studies")
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
