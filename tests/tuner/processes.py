"""``lime-tuner`` in processes of its own, which begin at once.

Python takes seconds of a core to import torch, Optuna and the rest. These processes are forked from
one that has done so, see ``tests.tuner.fork_server``; from there on they do what
``python -m tuner`` does. What a command starts is started as ever.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import requests

__all__ = ["ROOT", "Command", "until"]

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 300.0


def until(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Look every now and then whether something is so.

    Raises:
        AssertionError: it is not so in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


@cache
def _fork_server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.tuner.fork_server"], cwd=ROOT, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    atexit.register(server.kill)
    return server


class Command:
    """A command that runs, in a session of its own; it is killed where the ``with`` is left.

    Args:
        arguments: after ``lime-tuner``.
        folder: its working folder; by default this process's.
        modest: it obeys the modes of files also where it is root's.
        environment: what differs from this process's.
    """

    def __init__(
        self, *arguments: str, folder: Path | None = None, modest: bool = False, **environment: str
    ) -> None:
        self._said = tempfile.TemporaryDirectory(prefix="lime-tuner-said-")
        self._kept: dict[str, str] = {}
        asked = {
            "arguments": arguments, "folder": str(folder or Path.cwd()), "said": self._said.name,
            "modest": modest,
            "environment": {**os.environ, "PYTHONPATH": str(ROOT), **environment},
        }  # fmt: skip
        server = _fork_server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._kept = {name: self._read(name) for name in ("out", "err", "status")}
        self._said.cleanup()

    def _read(self, name: str) -> str:
        file = Path(self._said.name) / name
        return self._kept.get(name) or (file.read_text() if file.exists() else "")

    @property
    def out(self) -> str:
        """What it has written on stdout."""
        return self._read("out")

    @property
    def err(self) -> str:
        """What it has written on stderr."""
        return self._read("err")

    def poll(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        text = self._read("status")
        return int(text) if text else None

    def wait(self, seconds: float = 300) -> int:
        """Its exit status, when it has ended."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline, f"it does not end: {self.err}"
            time.sleep(0.02)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """To the process, not to what it has started."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self, *, all_of_it: bool = False) -> None:
        """SIGKILL, and wait.

        Args:
            all_of_it: with what it has started.
        """
        if self.poll() is None:
            (os.killpg if all_of_it else os.kill)(self.pid, signal.SIGKILL)
        self.wait(20)

    def address(self, path: str = "/") -> str:
        """Where the server listens that this is; returns when it answers there.

        Args:
            path: what is asked for.
        """
        found: list[str] = []

        def answers() -> bool:
            assert self.poll() is None, self.err
            found[:] = re.findall(r"http://[\d.]+:\d+", self.err)[:1]
            if not found:
                return False
            try:
                requests.get(f"{found[0]}{path}", timeout=60)
            except requests.ConnectionError:
                return False
            return True

        until(answers)
        return found[0]
