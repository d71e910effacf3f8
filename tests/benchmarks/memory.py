"""What a long study takes: memory, and bytes in the bank and the storage.

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
from tuner.jobs import TuneJob
from tuner.problem import SearchSpace
from tuner.tuning import TuningSettings

_POLL_SECONDS = 0.2


def _job(options: argparse.Namespace, folder: Path) -> TuneJob:
    classifier = benchmark_classifier(options, folder)
    image = photographs(classifier, options.assets, (options.image,))[0]
    task = tuning_task(image, classifier, engine=options.engine)
    name = getattr(task.source, "name", "")
    usual = TuningSettings()
    assert classifier.spec is not None
    return TuneJob(
        catalog=CATALOG,
        key=image.key,
        study=f"memory/{image.key}",
        storage=f"sqlite:///{folder / 'storage' / 'studies.db'}",
        assets=options.assets,
        bank=folder / "bank",
        classifier_spec=classifier.spec,
        engine=name if name in ENGINES else "torch",
        class_index=None,
        reference=task.reference.to_json(),
        runtime_model=task.runtime_model.to_json(),
        threads=torch.get_num_threads(),
        trials=options.trials,
        seeds=options.seeds,
        runtime_weight=usual.runtime_weight,
        sampler=options.sampler,
        timeout=None,
        answers=None,
        warm_start=False,
        constrain_fidelity=False,
        seed=0,
        space=SearchSpace(),
    )


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
        bank_bytes: the most that the bank's folder held. SQLite deletes its write-ahead log when
            the last process closes the file.
        resident_kb: the child's memory, over time.
    """

    bank_bytes: int = 0
    resident_kb: list[int] = field(default_factory=list)

    def look(self, process: int, bank: Path) -> None:
        self.bank_bytes = max(self.bank_bytes, _size(bank))
        kilobytes = status_kilobytes("VmRSS", process)
        if kilobytes is not None:
            self.resident_kb.append(kilobytes)

    def quarters(self) -> list[float]:
        """The most megabytes in each quarter of the time; memory that keeps growing shows here."""
        parts = np.array_split(np.array(self.resident_kb), 4)
        return [round(float(part.max()) / 1024, 1) for part in parts if len(part)]


def _run(job: TuneJob, folder: Path) -> tuple[dict[str, Any], _Watched]:
    """The child's own report, and what was seen of it."""
    pickled, errors = folder / "job.pkl", folder / "errors.txt"
    pickled.write_bytes(pickle.dumps(job))
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
                watched.look(child.pid, job.bank)
    if child.returncode != 0:
        lines = errors.read_text().strip().splitlines() or [f"status {child.returncode}"]
        raise LimeTunerError(f"the study failed: {lines[-1]}")
    return json.loads(output), watched


def _bank_facts(job: TuneJob, largest: int) -> dict[str, Any]:
    size = _size(job.bank)
    with closing(sqlite3.connect(f"file:{job.bank / 'answers.sqlite3'}?mode=ro", uri=True)) as bank:
        answers, held = bank.execute(
            "SELECT TOTAL(count), TOTAL(LENGTH(patterns) + LENGTH(answers)) FROM chunk"
        ).fetchone()
        maps, labels = bank.execute(
            "SELECT COUNT(*), TOTAL(LENGTH(labels)) FROM superpixels"
        ).fetchone()
        entries = bank.execute("SELECT COUNT(*) FROM entry").fetchone()[0]
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
    job = _job(options, folder)
    say(f"{options.trials} trials of {job.key} with {job.engine}")
    report, watched = _run(job, folder)
    return {
        "image": job.key,
        "engine": job.engine,
        "trials": options.trials,
        "seconds": round(report["seconds"], 2),
        "peak_rss_mb": round(report["peak_kb"] / 1024, 1),
        "rss_mb_by_quarter": watched.quarters(),
        **_bank_facts(job, watched.bank_bytes),
        "storage_bytes": _size(folder / "storage"),
    }


def main() -> None:
    """The command."""
    usual = TuningSettings()
    parser = argparse.ArgumentParser("python -m tests.benchmarks.memory")
    parser.add_argument("--trials", type=positive, default=200)
    parser.add_argument("--seeds", type=positive, default=usual.seeds)
    parser.add_argument("--image", default="West_Highland_white_terrier", help="key in tml25")
    parser.add_argument("--engine", default="auto", help=", ".join(ENGINES))
    parser.add_argument("--sampler", default=usual.sampler)
    run_benchmark(parser, _measure)


if __name__ == "__main__":
    main()
