"""Disks that are full: of the storage, and of the cache. They are real, and a few megabytes big."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tuner.test_kill import finished
from tests.tuner.tiny import TUNE_TINY

TRIALS = 6

pytestmark = pytest.mark.usefixtures("tiny_catalogue")


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of that size."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs Linux, and root, to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def tune(storage: Path, cache: Path, workers: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "tuner", *TUNE_TINY, "--images", "house,key",
            "--trials", str(TRIALS), "--seeds", "2", "--workers", str(workers), "--fix",
            "segmentation=slic", "--storage", f"sqlite:///{storage}",
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "LIME_TUNER_CACHE": str(cache)},
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_and_the_same_command_goes_on(
    tmp_path: Path, demo_measured: Path, workers: int
) -> None:
    cache = demo_measured
    with small_disk(tmp_path / "disk", 16_000) as disk:
        storage, filler = disk / "tuning.db", disk / "filler"
        filler.write_bytes(bytes(15_700_000))
        stopped = tune(storage, cache, workers)
        assert stopped.returncode == 1
        assert stopped.stdout == ""
        *others, line = stopped.stderr.strip().splitlines()
        assert "no space left" in line
        assert "the same command goes on" in line
        # The log lies on the same disk, and so do pictures and notes; nobody else has a say.
        known = ("cannot be written (No space", "without pictures", "disk is full")
        assert all(any(words in o for words in known) for o in others), others
        kept = finished(storage)
        assert kept
        with pytest.raises(OSError, match="No space"), (disk / "rest").open("wb", 0) as rest:
            while rest.write(bytes(4096)):
                pass
        again = tune(storage, cache, workers)
        assert again.returncode == 1
        assert "no space left" in again.stderr
        assert kept.items() <= finished(storage).items()

        filler.unlink()
        (disk / "rest").unlink()
        done = tune(storage, cache, workers)
        assert done.returncode == 0, done.stderr
        last = finished(storage)
        assert kept.items() <= last.items()
        assert all(sum(s == study for s, _ in last) >= TRIALS for study in {s for s, _ in last})
        with sqlite3.connect(storage) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert "tune done" in (disk / "lime-tuner.log").read_text()


@pytest.mark.parametrize("kilobytes", [16, 200])
def test_a_bank_whose_disk_is_full_ends_nothing(
    tmp_path: Path, demo_measured: Path, kilobytes: int
) -> None:
    """Too small for its tables, or for its answers."""
    cache = demo_measured
    with small_disk(cache / "bank", kilobytes):
        done = tune(tmp_path / "tuning.db", cache, 1)
        assert done.returncode == 0, done.stderr
        assert "in memory only" in done.stderr
        assert "Traceback" not in done.stderr
    assert len(finished(tmp_path / "tuning.db")) >= 2 * TRIALS
