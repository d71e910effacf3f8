"""Which sampler needs the fewest classifier answers, and what stopping trials early is worth.

``python -m tests.benchmarks.samplers [--samplers ceiling,random,tpe,grid,gp] [--stopping ours]``

Every (image, sampler, study seed) is a study of its own from an empty cache, charged for each
answer it would have had to ask; the answers themselves come from a cache that all of them share
(see :mod:`tests.benchmarks.shared_answers`), so the whole costs minutes rather than days. All
samplers run under the same rules for refusing and stopping trials.

A study holds, at any moment, the parameters of its best trial. Those are scored on explainer seeds
that no study uses (not charged): *score on fresh seeds*. What is counted is the answers until that
score first reaches what the random sampler holds after its last trial.

``--results FILE`` keeps the outcome of every study, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import optuna
import torch

from explainers.classifiers import Classifier
from explainers.errors import InvalidInput
from explainers.lime import LimeParameters
from studies.catalog import load_catalog
from studies.catalog.assets import StudyImage, load_study_image
from tests.benchmarks.common import (
    benchmark_classifier,
    fresh_score,
    photographs,
    positive,
    run_benchmark,
    say,
    tuning_task,
)
from tests.benchmarks.shared_answers import ChargedBank, SharedSource
from tuner import samplers as registry
from tuner.problem import (
    BoundsStopping,
    Incumbent,
    StoppingRule,
    TuningSettings,
)
from tuner.study import finished_trials
from tuner.tuning import open_study, run_study, study_facts

_WILCOXON_P = 0.1  # as its pruner
# What somebody would write down by hand: 8 superpixel algorithms, 192 points in all.
_GRID_MAPS: tuple[dict[str, Any], ...] = (
    {"segmentation": "lime"},
    *(
        {"segmentation": "slic", "slic.n_segments": n, "slic.compactness": 20, "slic.sigma": 0}
        for n in (10, 22, 50)
    ),
    *(
        {
            "segmentation": "felzenszwalb",
            "felzenszwalb.scale": scale,
            "felzenszwalb.sigma": 1.0,
            "felzenszwalb.min_size": 300,
        }
        for scale in (100, 400)
    ),
    *(
        {
            "segmentation": "quickshift",
            "quickshift.kernel_size": size,
            "quickshift.max_dist": 100,
            "quickshift.ratio": 0.2,
        }
        for size in (3, 6)
    ),
)


class _GridSampler(optuna.samplers.BaseSampler):
    """A coarse grid in random order."""

    def __init__(self, seed: int) -> None:
        points = [
            {
                **chosen, "hide_color": color, "num_features": count, "num_samples": samples,
                "batch_size": 10, "top_labels": 1, "distance_metric": "cosine", "regressor": "lime",
            }
            for chosen in _GRID_MAPS
            for color in ("mean", "black", "grey", "white")
            for count in (5, "all")
            for samples in (64, 200, 600)
        ]  # fmt: skip
        order = np.random.default_rng(seed).permutation(len(points))
        self._points = [points[i] for i in order]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        return optuna.search_space.IntersectionSearchSpace().calculate(study)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        return self._points[trial.number % len(self._points)][param_name]


def _grid(asked: registry.SamplerRequest) -> _GridSampler:
    return _GridSampler(asked.seed)


def _gp(asked: registry.SamplerRequest) -> optuna.samplers.BaseSampler:
    """Optuna's Gaussian process: on what all trials have in common; it takes no branches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=asked.seed, n_startup_trials=10)


_OTHERS = {"grid": _grid, "gp": _gp}


class _NoStopping:
    """Every trial that its ceiling allows is run to the end."""

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        return False

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        return False


class _SeedBounds(BoundsStopping):
    """Confidence bounds over seeds, no look at fewer samples."""

    def after_samples(
        self, ious: Sequence[float], samples: int, price: float, incumbent: Incumbent
    ) -> bool:
        return False


class _Wilcoxon(_NoStopping):
    """Optuna's WilcoxonPruner's test: is the best trial better on the same explainer seeds?"""

    def after_seeds(self, ious: Sequence[float], price: float, incumbent: Incumbent) -> bool:
        from scipy.stats import wilcoxon

        both = min(len(ious), len(incumbent.scores))
        differences = np.array(ious[:both]) - price - np.array(incumbent.scores[:both])
        if both < 2 or not differences.any():
            return False
        return bool(wilcoxon(differences, alternative="less").pvalue < _WILCOXON_P)


_STOPPING: Mapping[str, StoppingRule] = {
    "ours": BoundsStopping(), "seeds": _SeedBounds(), "wilcoxon": _Wilcoxon(),
    "none": _NoStopping(),
}  # fmt: skip


def _studied(job: dict[str, Any]) -> dict[str, Any]:
    """One study; the answers at which its best trial changed, and each one's fresh score."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    options = argparse.Namespace(**job["options"])
    folder = Path(job["folder"])
    classifier = benchmark_classifier(options, folder)
    image = _image(classifier, options, job["image"])
    task = tuning_task(image, classifier, engine=options.engine)
    shared = SharedSource(task.source, folder / job["image"])  # type: ignore[arg-type]
    task.source = shared
    task.cache = ChargedBank(shared.cache)
    settings = TuningSettings(
        constrain="none",
        trials=job["trials"], answers=job["answers"], sampler=job["sampler"], seed=job["seed"],
        stopping=_STOPPING[job["stopping"]],
    )  # fmt: skip
    key = f"{image.key}/{job['seed']}"
    facts = study_facts(task, classifier, settings, catalog="", key=key)
    study = open_study(key, None, facts)
    held: list[tuple[int, int, LimeParameters]] = []

    def on_trial(trial: optuna.trial.FrozenTrial) -> None:
        record = trial.user_attrs.get("lime_parameters")
        complete = trial.state == optuna.trial.TrialState.COMPLETE
        if complete and record and study.best_trial.number == trial.number:
            spent = task.cache.counts.new
            held.append((spent, trial.number, LimeParameters.from_json(record)))

    with mock.patch.dict(registry.SAMPLERS, _OTHERS):
        run_study(study, task, settings, on_trial)
    spent = task.cache.counts.new
    if job["sampler"] == "random":
        held = held[-1:]  # the others are measured by what it holds in the end
    curve = [
        (answers, number, round(fresh_score(task, parameters, settings.runtime_weight), 4))
        for answers, number, parameters in held
    ]
    own = round(study.best_value, 4)
    shared.cache.close()
    return {
        **{name: job[name] for name in ("image", "sampler", "seed", "stopping")},
        "answers": spent, "trials": len(finished_trials(study)), "own": own, "curve": curve,
    }  # fmt: skip


def _image(classifier: Classifier, options: argparse.Namespace, key: str) -> StudyImage:
    if not key.startswith("extra/"):
        return photographs(classifier, options.assets, (key,))[0]
    catalog = load_catalog(str(options.assets / "images" / "extra"))
    entry = catalog.only((key.removeprefix("extra/"),)).images[0]
    return load_study_image(catalog, entry, classifier.geometry, options.assets)


def _keys(options: argparse.Namespace) -> list[str]:
    own = list(load_catalog("tml25").keys)
    extra = load_catalog(str(options.assets / "images" / "extra")).keys
    named = {"photographs": own, "extra": [f"extra/{key}" for key in extra]}
    keys: list[str] = []
    for text in options.images.split(","):
        keys += named.get(text, [text])
    return keys


def _jobs(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    plain = {
        **{name: getattr(options, name) for name in ("model", "device", "engine")},
        "assets": options.assets,
    }
    for image in _keys(options):
        for seed in range(options.study_seeds):
            for text in options.samplers.split(","):
                sampler, _, trials = text.partition(":")
                if trials and not (trials.isdecimal() and int(trials)):
                    raise InvalidInput(f"--samplers {text}: trials are at least 1")
                yield {
                    "options": plain, "folder": str(folder), "image": image, "seed": seed,
                    "sampler": sampler, "stopping": options.stopping,
                    "trials": int(trials or options.trials), "answers": options.answers,
                }  # fmt: skip


def _name(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("image", "sampler", "seed", "stopping"))


def _run(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    done: dict[tuple[Any, ...], dict[str, Any]] = {}
    if options.results is not None and options.results.is_file():
        for line in options.results.read_text().splitlines():
            entry = json.loads(line)
            done[_name(entry)] = entry
    jobs = list(_jobs(options, folder))
    open_jobs = [job for job in jobs if _name(job) not in done]
    with ProcessPoolExecutor(options.processes) as pool:
        futures = [pool.submit(_studied, job) for job in open_jobs]
        for number, future in enumerate(as_completed(futures), start=1):
            entry = future.result()
            done[_name(entry)] = entry
            held = entry["curve"][-1][2] if entry["curve"] else None
            say(f"{number}/{len(open_jobs)} {_name(entry)}: {entry['answers']} answers, {held}")
            if options.results is not None:
                with options.results.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
    return [done[_name(job)] for job in jobs]


def _answers_to(curve: Iterable[Any], target: float) -> float | None:
    """Answers when the held parameters first reach a score and stay there."""
    reached: float | None = None
    for answers, _, value in curve:
        if value >= target and reached is None:
            reached = answers
    return reached


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """By sampler: final scores, and answers to random's final score relative to random's all."""
    randoms = {(e["image"], e["seed"]): e for e in entries if e["sampler"] == "random"}
    table: dict[str, Any] = {}
    for sampler in dict.fromkeys(e["sampler"] for e in entries):
        own = [e for e in entries if e["sampler"] == sampler]
        row = {
            "studies": len(own),
            "answers": round(median(e["answers"] for e in own)),
            "fresh_score": round(float(np.mean([e["curve"][-1][2] for e in own])), 4),
            "luck": round(float(np.mean([e["own"] - e["curve"][-1][2] for e in own])), 4),
        }
        shares = []
        for entry in own:
            other = randoms.get((entry["image"], entry["seed"]))
            if other is not None:
                spent = _answers_to(entry["curve"], other["curve"][-1][2])
                shares.append(float("inf") if spent is None else spent / other["answers"])
        if shares:
            row["reached"] = sum(np.isfinite(shares).tolist())
            middle = median(shares)
            row["share_of_random"] = round(middle, 3) if np.isfinite(middle) else None
        table[sampler] = row
    return table


def _body(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    entries = _run(options, options.cache or folder)
    return {
        "trials": options.trials,
        "answers": options.answers,
        "stopping": options.stopping,
        "images": len(_keys(options)),
        "study_seeds": options.study_seeds,
        "samplers": _summary(entries),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.samplers")
    parser.add_argument(
        "--images", default="photographs", help="keys, 'photographs' (default), 'extra'; commas"
    )
    parser.add_argument(
        "--samplers", default="random,ceiling:100", help="commas; NAME:N has N trials"
    )
    parser.add_argument("--stopping", choices=list(_STOPPING), default="ours")
    parser.add_argument("--trials", type=positive, default=200)
    parser.add_argument("--answers", type=positive, default=None, help="budget of each study")
    parser.add_argument("--study-seeds", type=positive, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--cache", type=Path, default=None, help="folder of the shared answers")
    parser.add_argument("--results", type=Path, default=None, help="file of finished studies")
    parser.add_argument("--processes", type=positive, default=2)
    run_benchmark(parser, _body)


if __name__ == "__main__":
    main()
