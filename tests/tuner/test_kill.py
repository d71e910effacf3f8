"""SIGKILL in the middle of ``tune``, again and again: nothing finished is lost, nothing corrupt."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

_logger = logging.getLogger(__name__)

# Kills, and trials of each of two studies: there must be work for every life.
SHORT, LONG = (3, 8), (60, 50)


def finished(database: Path) -> dict[tuple[int, int], tuple[str, float | None]]:
    """(study, number) → (state, value) of every trial with a result."""
    if not database.exists():
        return {}
    with sqlite3.connect(database, timeout=30) as connection:
        try:
            rows = connection.execute(
                "SELECT study_id, number, state, value FROM trials "
                "LEFT JOIN trial_values ON trials.trial_id = trial_values.trial_id "
                "WHERE state IN ('COMPLETE', 'PRUNED')"
            ).fetchall()
        except sqlite3.OperationalError:  # killed before the tables were made
            return {}
    return {(study, number): (state, value) for study, number, state, value in rows}


def sound_chunks(bank: Path) -> int:
    """How many chunks the bank has; every one must match its checksum."""
    if not bank.exists():
        return 0
    with sqlite3.connect(bank, timeout=30) as connection:
        try:
            rows = connection.execute(
                "SELECT count, dtype, patterns, answers, crc FROM chunk"
            ).fetchall()
        except sqlite3.OperationalError:
            return 0
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for count, dtype, patterns, answers, crc in rows:
        assert zlib.crc32(answers, zlib.crc32(patterns)) == crc
        values = np.frombuffer(answers, np.dtype(dtype)).reshape(count, -1)
        assert np.isfinite(values).all()
        assert ((values >= 0) & (values <= 1)).all()
    return len(rows)


@pytest.mark.parametrize(
    ("kills", "trials"), [SHORT, pytest.param(*LONG, marks=pytest.mark.chaos)]
)
def test_killed_and_resumed(
    tmp_path: Path, demo_measured: Path, kills: int, trials: int
) -> None:
    database, cache = tmp_path / "tuning.db", demo_measured
    command = [
        sys.executable, "-m", "tuner", "tune", "--catalog", "demo", "--images", "house,key",
        "--trials", str(trials), "--seeds", "3", "--workers", "2", "--fix", "segmentation=slic",
        "--storage", f"sqlite:///{database}",
    ]  # fmt: skip
    environment = {**os.environ, "LIME_TUNER_CACHE": str(cache)}
    generator = random.Random(7)
    kept = finished(database)
    killed_at_work = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # Wait until it does something worth interrupting, then a little longer.
        start, deadline = len(kept), time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if len(finished(database)) > start:
                break
            time.sleep(0.05)
        time.sleep(generator.uniform(0, 0.3))
        killed_at_work += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        now = finished(database)
        assert kept.items() <= now.items()
        sound_chunks(cache / "bank" / "answers.sqlite3")
        kept = now
    _logger.info("%d killed in the middle of the work", killed_at_work)
    assert killed_at_work >= kills // 2
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = finished(database)
    assert kept.items() <= last.items()
    for study in {study for study, _ in last}:
        numbers = [number for s, number in last if s == study]
        assert len(numbers) >= trials
    assert sound_chunks(cache / "bank" / "answers.sqlite3") > 0
