"""What a second worker is worth.

``python -m tests.benchmarks.workers [--images 4] [--trials 20] [--rounds 1]``

``lime-tuner tune`` with one and with two workers, each from an empty cache and an empty storage,
with the converted engine and the runtime model already in its cache. Images learn nothing from
each other, so that both do the same work.

A single worker lets the engine use every core, which is nearly as good while it computes; so it is
also timed with one thread, which is what each of two workers has on two cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput, LimeTunerError
from studies.catalog import load_catalog
from tests.benchmarks.common import (
    CATALOG,
    REFERENCE,
    child_environment,
    positive,
    run_benchmark,
    say,
    seconds_of,
    weights_file,
)


def _tune(
    options: argparse.Namespace,
    keys: Sequence[str],
    folder: Path,
    cache: Path,
    *,
    weights: Path,
    workers: int,
    trials: int,
    one_core: bool = False,
    seeds: int = 10,
) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole command, and the document it printed."""
    folder.mkdir()
    arguments = {
        "--catalog": CATALOG,
        "--assets": options.assets,
        "--model": options.model,
        "--weights": weights,
        "--device": options.device,
        "--engine": options.engine,
        "--images": ",".join(keys),
        "--reference": REFERENCE,
        "--storage": f"sqlite:///{folder / 'studies.db'}",
        "--trials": trials,
        "--seeds": seeds,
        "--workers": workers,
    }
    warm = "--warm-start" if options.warm_start else "--no-warm-start"
    command = [sys.executable, "-m", "tuner", "tune", "--json", warm]
    for name, value in arguments.items():
        command += [name, str(value)]
    command += ["--threads", "1"] if one_core else []
    finished: list[subprocess.CompletedProcess[str]] = []
    seconds = seconds_of(
        lambda: finished.append(
            subprocess.run(
                command,
                cwd=folder,  # away from anybody's lime-tuner.toml
                env=child_environment(LIME_TUNER_CACHE=str(cache)),
                capture_output=True,
                text=True,
                check=False,
            )
        )
    )
    done = finished[0]
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise LimeTunerError(f"tune --workers {workers} failed: {lines[-1]}")
    return seconds, json.loads(done.stdout)


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    counts = [int(count) for count in options.workers.split(",") if count.isdecimal()]
    if len(counts) < 2 or min(counts) < 1:
        raise InvalidInput(f"--workers {options.workers}: two numbers or more, each at least 1")
    keys = load_catalog(CATALOG).keys[: options.images]
    weights = weights_file(options.model, options.assets, folder)
    warm = folder / "warm"
    say("filling the cache")
    for one_core in (False, True):  # batch sizes are measured for each
        _tune(
            options, keys[:1], folder / f"warming-{one_core}", warm, weights=weights, workers=1,
            trials=1, one_core=one_core, seeds=1,
        )  # fmt: skip
    runs = [(count, False) for count in counts]
    if not options.no_one_thread:
        runs.append((counts[0], True))
    seconds: dict[tuple[int, bool], list[float]] = {run: [] for run in runs}
    found: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for run in runs if number % 2 == 0 else reversed(runs):
            count, one_core = run
            own = folder / f"run-{number}-{count}-{one_core}"
            cache = folder / f"cache-{number}-{count}-{one_core}"
            shutil.copytree(warm, cache, ignore=shutil.ignore_patterns("bank"))
            taken, document = _tune(
                options, keys, own, cache, weights=weights, workers=count, trials=options.trials,
                one_core=one_core,
            )  # fmt: skip
            seconds[run].append(taken)
            found.append(document)
            say(f"round {number + 1}, {_described(*run)}: {taken:.1f} s")
    medians = {run: statistics.median(taken) for run, taken in seconds.items()}
    first, alone = (counts[0], False), (counts[0], True)
    against_one_thread = {
        str(c): round(medians[alone] / medians[c, False], 3) for c in counts if alone in medians
    }
    return {
        "images": len(keys),
        "trials": options.trials,
        "engine": options.engine,
        "seconds": {_described(*r): [round(s, 2) for s in t] for r, t in seconds.items()},
        "times_faster": {str(c): round(medians[first] / medians[c, False], 3) for c in counts[1:]},
        "times_faster_than_one_thread": against_one_thread,
        "same_results": all(document == found[0] for document in found),
    }


def _described(workers: int, one_core: bool) -> str:
    return f"{workers} workers{' of one thread' * one_core}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.workers")
    parser.add_argument("--images", type=positive, default=4, help="photographs, from the first")
    parser.add_argument("--trials", type=positive, default=20)
    parser.add_argument("--workers", default="1,2", help="compared with the first")
    parser.add_argument("--engine", default="auto")
    parser.add_argument(
        "--no-one-thread", action="store_true", help="leave out the single worker of one thread"
    )
    parser.add_argument("--rounds", type=positive, default=1)
    parser.add_argument(
        "--warm-start",
        action="store_true",
        help="as tune does by default; then what is searched depends on the number of workers",
    )
    run_benchmark(parser, _measure)


if __name__ == "__main__":
    main()
