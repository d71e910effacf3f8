"""What a database makes of many workers.

``python -m tests.benchmarks.storage_load [--storage URL] [--trials 200] [--cost 0.25]
[--workers 1,2,4,8]``

Worker processes share one study; a trial sleeps instead of explaining, and writes what a real
trial writes: parameters, values after every seed, and the record. Reported are trials per second,
and the share of a worker's time that is spent on the storage: all but the sleep, from asking for
a trial to having told its end. Without ``--storage`` it is an SQLite file; a server's database
must be empty, and is left so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna

from explainers.errors import InvalidInput, LimeTunerError
from explainers.lime import LimeParameters
from studies.results.trial_record import TrialRecord
from studies.storage import describe, holds_studies, open_storage, sqlite_path
from tests.benchmarks.common import child_environment, positive, run_benchmark, say
from tuner.problem import SearchSpace, TuningSettings
from tuner.problem.incumbent import incumbent_of
from tuner.study import has_room

_SEEDS = 10
_STUDY = "load/{workers}"


def work(url: str, name: str, trials: int, cost: float) -> None:
    """One worker: says that it is ready, waits for a line, and prints its seconds as JSON."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(
        study_name=name, storage=open_storage(url), sampler=optuna.samplers.RandomSampler()
    )
    settings = TuningSettings(trials=trials, seeds=_SEEDS, constrain="none")
    slept = 0.0
    count = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal slept, count
        parameters = SearchSpace().suggest(trial)
        incumbent_of(study, settings.runtime_weight)
        begun = time.perf_counter()
        time.sleep(cost)
        slept += time.perf_counter() - begun
        for seed in range(_SEEDS):
            trial.report(0.5, step=seed)
        parts = {"segmentation": 1.0, "perturbation": 1.0, "prediction": 1.0, "fit": 1.0}
        found = TrialRecord(
            parameters, 0.5, [0.5] * _SEEDS, range(_SEEDS), 4.0, 0.5, parts, 20, 1000
        )
        for key, value in found.to_attributes().items():
            trial.set_user_attr(key, value)
        count += 1
        return 0.5

    LimeParameters().to_json()
    has_room(study, settings)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    begun = time.perf_counter()
    while has_room(study, settings):
        study.optimize(objective, n_trials=1)
    total = time.perf_counter() - begun
    sys.stdout.write(json.dumps({"seconds": total, "slept": slept, "trials": count}) + "\n")


def _run_workers(url: str, workers: int, trials: int, cost: float) -> dict[str, float]:
    name = _STUDY.format(workers=workers)
    optuna.create_study(study_name=name, storage=open_storage(url), direction="maximize")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--storage", url, "--trials", str(trials),
             "--cost", str(cost), "--work-on", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment(),
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        for each in started:
            assert each.stdout is not None
            if each.stdout.readline().strip() != "ready":
                raise LimeTunerError("a worker could not begin")
        begun = time.perf_counter()
        for each in started:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        found = []
        for each in started:
            assert each.stdout is not None
            found.append(json.loads(each.stdout.readline()))
        seconds = time.perf_counter() - begun
    finally:
        for each in started:
            each.kill()
            each.communicate()
    done = sum(row["trials"] for row in found)
    total, slept = (sum(row[name] for row in found) for name in ("seconds", "slept"))
    return {
        "trials": done,
        "trials_per_second": round(done / seconds, 2),
        "storage_share": round((total - slept) / total, 3),
        "storage_milliseconds_per_trial": round(1000 * (total - slept) / done, 1),
    }


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    counts = [int(count) for count in options.workers.split(",") if count.isdecimal()]
    if not counts or min(counts) < 1:
        raise InvalidInput(f"--workers {options.workers}: numbers from 1, with commas")
    url = options.storage or f"sqlite:///{folder / 'studies.db'}"
    if holds_studies(url) and open_storage(url).get_all_studies():
        raise InvalidInput(f"--storage {describe(url)}: give an empty database")
    found: dict[str, dict[str, float]] = {}
    for count in counts:
        found[str(count)] = _run_workers(url, count, options.trials, options.cost)
        say(f"{count} workers: {found[str(count)]}")
        optuna.delete_study(study_name=_STUDY.format(workers=count), storage=open_storage(url))
    return {
        "storage": "sqlite" if sqlite_path(url) else describe(url).split("+")[0].split(":")[0],
        "cost_seconds": options.cost,
        "trials": options.trials,
        "by_workers": found,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.storage_load")
    parser.add_argument("--storage", help="URL of an empty database  [default: an SQLite file]")
    parser.add_argument("--trials", type=positive, default=200, help="in the study in the end")
    parser.add_argument("--cost", type=float, default=0.25, help="seconds that a trial sleeps")
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--work-on", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work_on:
        work(options.storage, options.work_on, options.trials, options.cost)
        return
    run_benchmark(parser, _measure, real_inputs=False)


if __name__ == "__main__":
    main()
