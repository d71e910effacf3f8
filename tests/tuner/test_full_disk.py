"""Disks that are full: of the storage, and of the cache. They are real, and a few megabytes big."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tuner.kills import finished
from tests.tuner.processes import Command
from tests.tuner.tiny import TUNE_TINY

TRIALS = 6

pytestmark = pytest.mark.usefixtures("tiny_catalogue", "quick_heartbeats")


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


def tune(storage: Path, workers: int) -> tuple[int, str]:
    """Its exit status, and what it has said on stderr."""
    arguments = (
        *TUNE_TINY, "--images", "house,key", "--trials", str(TRIALS), "--seeds", "2", "--workers",
        str(workers), "--fix", "segmentation=slic", "--storage", f"sqlite:///{storage}",
    )  # fmt: skip
    with Command(*arguments) as command:
        status = command.wait()
    assert command.out == "" or status == 0
    return status, command.err


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path, workers: int) -> None:
    with small_disk(tmp_path / "disk", 16_000) as disk:
        storage, filler = disk / "tuning.db", disk / "filler"
        filler.write_bytes(bytes(15_700_000))
        status, said = tune(storage, workers)
        assert status == 1
        *others, line = said.strip().splitlines()
        assert "no space left" in line
        assert "the same command goes on" in line
        # The log lies on the same disk, and so do pictures and notes. Before them: how far it is.
        known = (
            "cannot be written (No space", "without pictures", "disk is full", "tuning 2 images",
            "best IoU", "measuring how fast", "loading",
        )  # fmt: skip
        assert all(any(words in o for words in known) for o in others), others
        kept = finished(storage)
        assert kept
        with pytest.raises(OSError, match="No space"), (disk / "rest").open("wb", 0) as rest:
            while rest.write(bytes(4096)):
                pass
        if workers == 1:  # begun on a disk without a single byte left
            status, said = tune(storage, workers)
            assert status == 1
            assert "no space left" in said
            assert kept.items() <= finished(storage).items()

        filler.unlink()
        (disk / "rest").unlink()
        status, said = tune(storage, workers)
        assert status == 0, said
        last = finished(storage)
        assert kept.items() <= last.items()
        assert all(sum(s == study for s, _ in last) >= TRIALS for study in {s for s, _ in last})
        with sqlite3.connect(storage) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert "tune done" in (disk / "lime-tuner.log").read_text()


@pytest.mark.parametrize("kilobytes", [16, 200])
def test_a_cache_whose_disk_is_full_ends_nothing(
    tmp_path: Path, cache: Path, kilobytes: int
) -> None:
    """Too small for its tables, or for its answers."""
    with small_disk(cache / "bank", kilobytes):
        status, said = tune(tmp_path / "tuning.db", 1)
        assert status == 0, said
        assert "in memory only" in said
        assert "Traceback" not in said
    assert len(finished(tmp_path / "tuning.db")) >= 2 * TRIALS
