"""What a long study takes: memory, and bytes in the cache and the storage.

``python -m tests.benchmarks.memory [--trials 200] [--image goldfish]``

A fresh process runs the job that a worker of ``tune`` would run, with the converted engine and
the runtime model taken from the cache. Linux only.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explainers.engines import ENGINES
from explainers.errors import LimeTunerError
from tests.benchmarks.common import (
    CATALOG,
    benchmark_classifier,
    child_environment,
    photographs,
    positive,
    run_benchmark,
    say,
    tuning_task,
)
from tests.benchmarks.memory_child import status_kilobytes
from tuner.problem.spec import Machine, StudySpec
from tuner.tuning import TuningSettings

_POLL_SECONDS = 0.2


def _work(options: argparse.Namespace, folder: Path) -> tuple[Machine, StudySpec]:
    classifier = benchmark_classifier(options, folder)
    image = photographs(classifier, options.assets, (options.image,))[0]
    task = tuning_task(image, classifier, engine=options.engine)
    name = getattr(task.source, "name", "")
    source = classifier.spec
    assert source is not None
    machine = Machine(
        storage=f"sqlite:///{folder / 'storage' / 'studies.db'}",
        assets=options.assets,
        cache=folder / "bank",
        device=source["device"],
        engine=name if name in ENGINES else "torch",
        threads=torch.get_num_threads(),
    )
    spec = StudySpec(
        name=f"memory/{image.key}",
        key=image.key,
        catalog=CATALOG,
        model=source["model"],
        weights=source["weights"],
        cam_layer=source["cam_layer"],
        reference=task.reference.to_json(),
        runtime_model=task.runtime_model.to_json(),
        settings=TuningSettings.of(
            {
                "trials": options.trials, "seeds": options.seeds, "sampler": options.sampler,
                "warm_start": False,
            }
        ),
    )  # fmt: skip
    return machine, spec


def _size(folder: Path) -> int:
    """Bytes of all its files; one that is deleted meanwhile counts nothing."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@dataclass
class _Watched:
    """What was seen of the child from outside.

    Attributes:
        cache_bytes: the most that the cache's folder held. SQLite deletes its write-ahead log when
            the last process closes the file.
        resident_kb: the child's memory, over time.
    """

    cache_bytes: int = 0
    resident_kb: list[int] = field(default_factory=list)

    def look(self, process: int, cache: Path) -> None:
        self.cache_bytes = max(self.cache_bytes, _size(cache))
        kilobytes = status_kilobytes("VmRSS", process)
        if kilobytes is not None:
            self.resident_kb.append(kilobytes)

    def quarters(self) -> list[float]:
        """The most megabytes in each quarter of the time; memory that keeps growing shows here."""
        parts = np.array_split(np.array(self.resident_kb), 4)
        return [round(float(part.max()) / 1024, 1) for part in parts if len(part)]


def _run(work: tuple[Machine, StudySpec], folder: Path) -> tuple[dict[str, Any], _Watched]:
    """The child's own report, and what was seen of it."""
    pickled, errors = folder / "job.pkl", folder / "errors.txt"
    pickled.write_bytes(pickle.dumps(work))
    watched = _Watched()
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.memory_child", str(pickled)],
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as child,
    ):
        while True:
            try:
                output, _ = child.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                watched.look(child.pid, folder / "bank")
    if child.returncode != 0:
        lines = errors.read_text().strip().splitlines() or [f"status {child.returncode}"]
        raise LimeTunerError(f"the study failed: {lines[-1]}")
    return json.loads(output), watched


def _cache_facts(folder: Path, largest: int) -> dict[str, Any]:
    size = _size(folder)
    with closing(sqlite3.connect(f"file:{folder / 'answers.sqlite3'}?mode=ro", uri=True)) as cache:
        answers, held = cache.execute(
            "SELECT TOTAL(count), TOTAL(LENGTH(patterns) + LENGTH(answers)) FROM chunk"
        ).fetchone()
        maps, labels = cache.execute(
            "SELECT COUNT(*), TOTAL(LENGTH(labels)) FROM superpixels"
        ).fetchone()
        entries = cache.execute("SELECT COUNT(*) FROM entry").fetchone()[0]
    return {
        "bank_bytes": size,
        "bank_bytes_at_most": max(size, largest),
        "answers": int(answers),
        "bytes_per_1000_answers": round(1000 * size / answers) if answers else None,
        "answers_share": round(held / size, 4),
        "maps": maps,
        "maps_share": round(labels / size, 4),
        "entries": entries,
    }


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if status_kilobytes("VmHWM") is None:
        raise LimeTunerError("peak memory is read from /proc, which is not here: use Linux")
    (folder / "storage").mkdir()
    work = _work(options, folder)
    machine, spec = work
    say(f"{options.trials} trials of {spec.key} with {machine.engine}")
    report, watched = _run(work, folder)
    return {
        "image": spec.key,
        "engine": machine.engine,
        "trials": options.trials,
        "seconds": round(report["seconds"], 2),
        "peak_rss_mb": round(report["peak_kb"] / 1024, 1),
        "rss_mb_by_quarter": watched.quarters(),
        **_cache_facts(folder / "bank", watched.cache_bytes),
        "storage_bytes": _size(folder / "storage"),
    }


def main() -> None:
    """The command."""
    defaults = TuningSettings()
    parser = argparse.ArgumentParser("python -m tests.benchmarks.memory")
    parser.add_argument("--trials", type=positive, default=200)
    parser.add_argument("--seeds", type=positive, default=defaults.seeds)
    parser.add_argument("--image", default="West_Highland_white_terrier", help="key in tml25")
    parser.add_argument("--engine", default="auto", help=", ".join(ENGINES))
    parser.add_argument("--sampler", default=defaults.sampler)
    run_benchmark(parser, _measure)


if __name__ == "__main__":
    main()
