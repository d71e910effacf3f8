"""A signal ends the process, after what was begun is cleared away, and by that very signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_CODE = """
import atexit, subprocess, sys, tempfile, time
from tuner.ending import tidy_end
atexit.register(print, "at the end")
with tidy_end(by_signal=sys.argv[3] == "signal"), tempfile.TemporaryDirectory(dir=sys.argv[1]):
    child = subprocess.Popen(["sleep", "100"])
    try:
        print(child.pid, flush=True)
        time.sleep(float(sys.argv[2]))
        print("over", flush=True)
    finally:
        time.sleep(0.3)
        child.kill()
        child.wait()
"""


def _begun(folder: Path, seconds: float, end: str, *before: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [*before, sys.executable, "-c", _CODE, str(folder), str(seconds), end],
        stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    )  # fmt: skip
    assert started.stdout is not None
    assert int(started.stdout.readline()) > 0
    assert len(list(folder.iterdir())) == 1
    return started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("end", ["signal", "status"])
def test_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, end: str) -> None:
    with _begun(tmp_path, 100, end) as started:
        started.send_signal(number)
        started.send_signal(number)  # impatience changes nothing
        said, _ = started.communicate(timeout=10)
    expected = (-number, "") if end == "signal" else (128 + number, "at the end\n")
    assert (started.returncode, said) == expected
    assert list(tmp_path.iterdir()) == []


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with _begun(tmp_path, 0.5, "signal", "nohup") as started:
        started.send_signal(signal.SIGHUP)
        said, _ = started.communicate(timeout=10)
    assert (started.returncode, said) == (0, "over\nat the end\n")
