"""A real Dask cluster on this machine: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_START_SECONDS = 60


@dataclass(eq=False)
class DaskCluster:
    """Its processes run in sessions of their own, so that a worker dies with its nanny."""

    folder: Path
    address: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_scheduler", *arguments]
                if name == "scheduler"
                else [sys.executable, "-m", "distributed.cli.dask_worker", *arguments],
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            )  # fmt: skip

    def add_worker(self, *arguments: str) -> None:
        """``dask worker``; waited for where a scheduler answers."""
        number = len(self.workers)
        self.workers.append(
            self.start(self.address, "--no-dashboard", *arguments, name=f"worker-{number}")
        )
        deadline = time.monotonic() + _START_SECONDS
        while "Registered to" not in (self.folder / f"worker-{number}.log").read_text():
            assert time.monotonic() < deadline, "the Dask worker does not start"
            time.sleep(0.1)

    def kill_worker(self, number: int) -> None:
        """With its nanny, as when a machine is switched off."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[DaskCluster]:
    """A scheduler that has no workers yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = DaskCluster(folder, f"tcp://127.0.0.1:{port}")
    scheduler = cluster.start("--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
                              name="scheduler")  # fmt: skip
    try:
        deadline = time.monotonic() + _START_SECONDS
        while "Scheduler at:" not in (folder / "scheduler.log").read_text():
            assert time.monotonic() < deadline, "the Dask scheduler does not start"
            time.sleep(0.1)
        yield cluster
    finally:
        for each in (*cluster.workers, scheduler):
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
