"""``lime-tuner`` in processes of its own, which begin at once.

Python takes seconds of a core to import torch, Optuna and the rest. These processes are forked from
one that has done so, by ``multiprocessing``'s fork server; from there on they do what
``python -m tuner`` does. What a command starts is started as ever.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

__all__ = ["ROOT", "Command", "forking", "until"]

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 120.0

forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(
    [
        "torch", "optuna", "lime.lime_image", "skimage.segmentation", "sklearn.gaussian_process",
        "alembic.command", "fastapi", "uvicorn", "optuna_dashboard", "explainers.engines",
        "studies.patient_storage", "studies.service.app", "tuner.cli", "tuner.tuning",
        "tuner.study_notes", "tuner.worker",
    ]
)  # fmt: skip


def until(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Look every now and then whether something is so.

    Raises:
        AssertionError: it is not so in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


class Command:
    """A command that runs, in a session of its own; it is killed where the ``with`` is left.

    Args:
        arguments: after ``lime-tuner``.
        folder: its working folder; by default this process's.
        environment: what differs from this process's.
    """

    def __init__(
        self, *arguments: str, folder: Path | None = None, **environment: str
    ) -> None:
        self.arguments = arguments
        self._said = tempfile.TemporaryDirectory(prefix="lime-tuner-said-")
        self._files = tuple(Path(self._said.name) / name for name in ("out", "err"))
        for file in self._files:
            file.touch()
        self._kept: tuple[str, ...] | None = None
        self._process = forking.Process(
            target=_run,
            args=(arguments, folder or Path.cwd(), {**os.environ, **environment}, self._files),
        )
        self._process.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._kept = self._read()
        self._said.cleanup()

    def _read(self) -> tuple[str, ...]:
        return self._kept or tuple(file.read_text() for file in self._files)

    @property
    def pid(self) -> int:
        """Of the process, and of its session."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has written on stdout."""
        return self._read()[0]

    @property
    def err(self) -> str:
        """What it has written on stderr."""
        return self._read()[1]

    def poll(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = 400) -> int:
        """Its exit status, when it has ended."""
        self._process.join(seconds)
        status = self.poll()
        assert status is not None, f"it does not end: {self.err}"
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """To the process, not to what it has started."""
        os.kill(self.pid, number)

    def kill(self, *, all_of_it: bool = False) -> None:
        """SIGKILL, and wait.

        Args:
            all_of_it: with what it has started.
        """
        if all_of_it:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

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


def _run(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], said: tuple[Path, ...]
) -> None:
    os.setsid()
    for number, file in enumerate(said, start=1):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(":"))]
    sys.argv = ["lime-tuner", *arguments]
    from tuner.cli import main

    main()
