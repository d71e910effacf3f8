"""A service that is killed in turns: all of it, only the server, only a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image

from studies.records.jobs import Job, Jobs
from studies.results.attributes import WORKER
from tests.tuner.kills import Finished, Tally, finished
from tests.tuner.tiny import MODEL, tiny_picture

__all__ = ["Killed"]

ROOT = Path(__file__).resolve().parents[2]
_KEYS = ("house", "key", "umbrella", "cat", "boat", "mug", "bird")
_IMAGES = 3  # of a study
_SECONDS = 120.0
_LAST_ATTEMPT = 3  # a job whose worker dies while it prepares it has failed


class Killed:
    """A server in a folder, its jobs, and what was finished before each kill.

    Attributes:
        asked: the keys of every study that was sent, by its name.
        status: of the last server, when it is over. left: what then still ran.
    """

    trials_each = 6

    def __init__(self, folder: Path, tally: Tally, workers: int) -> None:
        self._folder, self._tally, self._workers = folder, tally, workers
        self._database = folder / "lime-tuner.db"
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._jobs: Jobs | None = None
        self.asked: dict[str, tuple[str, ...]] = {}
        self.status: int | None = None
        self.left: list[psutil.Process] = []

    def __enter__(self) -> Killed:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self.status = self._process.wait(60)
        finally:
            self.left = _processes_in(self._folder)
            for process in self.left:
                process.kill()

    def _server(self) -> subprocess.Popen[bytes]:
        """The server; another one where the last was killed."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        log = self._folder / f"server-{self._tally.kills}.err"
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tuner", "serve", *MODEL, "--device", "cpu",
                 "--seeds", "1", "--port", "0", "--workers", str(self._workers),
                 "--threads", "1"],
                cwd=self._folder, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._temporary)},
            )  # fmt: skip
        process = self._process

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            found = re.search(r"serving on (http://[\d.]+:\d+)", log.read_text())
            if found is None:
                return False
            self._url = found[1]
            try:
                return requests.get(f"{self._url}/healthz", timeout=10).ok
            except requests.ConnectionError:
                return False

        _until(answers)
        return process

    def get(self, path: str) -> Any:
        """A JSON document of the server."""
        return requests.get(f"{self._url}{path}", timeout=60).json()

    def take(self, path: str) -> bytes:
        """A file of the server."""
        answer = requests.get(f"{self._url}{path}", timeout=60)
        assert answer.ok, answer.text
        return answer.content

    def keep_busy(self, jobs: int) -> None:
        """Send studies until so many images wait or are at work."""
        self._server()
        while sum(job.state in ("queued", "running") for job in self.jobs()) < jobs:
            number = len(self.asked)
            keys = tuple(_KEYS[(_IMAGES * number + i) % len(_KEYS)] for i in range(_IMAGES))
            answer = requests.post(
                f"{self._url}/api/studies",
                files=[("images", (path.name, path.read_bytes())) for path in self._scenes(keys)],
                data={"trials": str(self.trials_each), "study": f"study-{number}"}, timeout=60,
            )  # fmt: skip
            assert answer.status_code == 202, answer.text
            self.asked[str(answer.json()["study"])] = keys

    def _scenes(self, keys: tuple[str, ...]) -> list[Path]:
        paths = [self._folder / f"{key}.png" for key in keys]
        for key, path in zip(keys, paths, strict=True):
            if not path.exists():
                Image.fromarray(tiny_picture(key)[0]).save(path)
        return paths

    def kill_something(self) -> None:
        """Kill when a trial has been finished and another is run: the next in turn."""
        server, kept = self._server(), self.finished()
        _until(lambda: len(self.finished()) > len(kept) and bool(self._busy()))
        time.sleep(self._tally.chance.uniform(0, 0.3))
        kept, over = self.finished(), self._over()
        workers, busy = psutil.Process(server.pid).children(), self._busy()
        if not busy or self._in_last_attempt():
            return  # nobody runs a trial, or would be found to die of his job
        what = ("all", "server", "worker")[self._tally.kills % 3]
        victims = {
            "all": [psutil.Process(server.pid), *workers],
            "server": [psutil.Process(server.pid)],
            "worker": [worker for worker in workers if worker.pid in busy][:1],
        }[what]
        if not victims:
            return
        running = [process.is_running() for process in victims]
        for process in victims:
            process.kill()
        self._tally.count(at_work=all(running))
        if what != "worker":
            server.wait()
        # Without their server they end by themselves.
        gone = victims if what == "worker" else workers
        assert psutil.wait_procs(gone, timeout=40)[1] == []
        assert kept.items() <= self.finished().items()
        assert over.items() <= self._over().items()
        with sqlite3.connect(self._database, timeout=30) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def _busy(self) -> set[int]:
        """The processes of workers that run a trial of a job."""
        with sqlite3.connect(self._database, timeout=30) as connection:
            rows = connection.execute(
                "SELECT value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
                "WHERE key = ? AND state = 'RUNNING'", (WORKER,),
            ).fetchall()  # fmt: skip
        assert self._process is not None
        alive = {worker.pid for worker in psutil.Process(self._process.pid).children()}
        return alive & {int(json.loads(worker).rpartition(":")[2]) for (worker,) in rows}

    def _in_last_attempt(self) -> bool:
        """Whether a job is at work for the last time, also where none of its trials runs."""
        return any(job.state == "running" and job.attempts >= _LAST_ATTEMPT for job in self.jobs())

    def finish(self, seconds: float) -> None:
        """Let the rest be done."""
        self._server()
        _until(
            lambda: all(job.state not in ("queued", "running") for job in self.jobs()), seconds
        )

    def jobs(self) -> list[Job]:
        """All of them."""
        if self._jobs is None:
            self._jobs = Jobs(f"sqlite:///{self._database}")
        return self._jobs.everything()

    def left_files(self) -> list[str]:
        """Temporary files and folders; but for the cache that torch always makes."""
        own = self._folder / "lime-tuner-service"
        found = [*own.rglob(".*"), *self._temporary.iterdir()]
        return [path.name for path in found if not path.name.startswith("torchinductor_")]

    def _over(self) -> dict[int, Job]:
        return {job.id: job for job in self.jobs() if job.state not in ("queued", "running")}

    def finished(self) -> Finished:
        """Every trial with a result."""
        return finished(self._database)

    def trials(self) -> dict[str, Counter[str]]:
        """How many trials are in which state, by study."""
        with sqlite3.connect(self._database, timeout=30) as connection:
            rows = connection.execute(
                "SELECT study_name, state FROM trials JOIN studies USING (study_id)"
            ).fetchall()
        found: dict[str, Counter[str]] = {}
        for name, state in rows:
            found.setdefault(name, Counter())[state] += 1
        return found


def _processes_in(folder: Path) -> list[psutil.Process]:
    """Servers and workers that still run in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


def _until(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
