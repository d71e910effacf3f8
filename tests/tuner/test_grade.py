"""``lime-tuner grade``: started as a user starts it, killed, and started again."""

from __future__ import annotations

import pickle
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests

from studies.catalog.demo import DEMO_SEEDS, draw_scene
from tests.studies.export.hostile_pickles import entry
from tests.tuner.command_line import Cli
from tests.tuner.processes import Command

KEYS = tuple(DEMO_SEEDS)[:2]
_WORDS = ("--catalog", "demo", "--model", "demo", "--device", "cpu", "--images", ",".join(KEYS))


@contextmanager
def _server(
    folder: Path, *options: str, ended_by: signal.Signals = signal.SIGINT
) -> Iterator[tuple[str, Command]]:
    """Its URL and its process; temporary files are in the folder ``temporary``."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    arguments = ("grade", *_WORDS, "--tokens", "tokens", "--port", "0", *options)
    with Command(*arguments, folder=folder, TMPDIR=str(temporary)) as started:
        yield started.address("/healthz"), started
        started.send_signal(ended_by)
        started.wait(20)


def _post(url: str, document: Any, token: str) -> requests.Response:
    return requests.post(
        f"{url}/lime", files={"file": pickle.dumps(document)}, headers={"token": token}, timeout=60
    )


def _exams(folder: Path) -> list[Path]:
    return list((folder / "temporary").glob("lime-tuner-grade-*"))


@pytest.fixture
def folder(here: Path) -> Path:
    (here / "lime-tuner.toml").write_text('storage = "sqlite:///grades-of-the-course.db"\n')
    (here / "tokens").write_text("red token-red\nblue token-blue\n")
    (here / "masks").mkdir()
    for key in KEYS:
        np.save(here / "masks" / f"{key}.npy", draw_scene(key, DEMO_SEEDS[key]).mask)
    return here


def test_killed_and_started_again_it_has_every_answer(folder: Path) -> None:
    good = {key: entry() for key in KEYS}
    slow = {key: entry(num_samples=5000, segmentation_fn=None) for key in KEYS}
    with _server(folder, "--truth", "masks", "--cutoff", "60") as (url, process):
        answer = _post(url, good, "token-red")
        assert answer.status_code == 200, answer.text
        assert 0 <= answer.json()["avg_iou"] <= 1
        evaluators = psutil.Process(process.pid).children()
        with pytest.raises(requests.RequestException):
            # The connection breaks when the server is killed in the middle of this.
            timer = threading.Timer(1.5, process.kill)
            timer.start()
            _post(url, slow, "token-blue")
        timer.join()
        psutil.wait_procs(evaluators, timeout=10)
        assert not any(evaluator.is_running() for evaluator in evaluators)
    assert _exams(folder) == []  # the evaluator has seen to it
    hang_up = signal.SIGHUP
    with _server(folder, "--reference", "masks", ended_by=hang_up) as (url, process):
        evaluators = psutil.Process(process.pid).children()
        assert len(evaluators) == len(_exams(folder)) == 1
        board = requests.get(f"{url}/api/score_board", timeout=10).json()
        assert [(row["team"], row["avg_iou"]) for row in board] == [
            ("red", answer.json()["avg_iou"])
        ]
        again = _post(url, good, "token-blue").json()
        assert again["avg_iou"] == answer.json()["avg_iou"]  # same file, masks and seeds
        assert len(requests.get(f"{url}/api/score_board", timeout=10).json()) == 2
    assert process.poll() == -hang_up
    assert psutil.wait_procs(evaluators, timeout=5)[1] == []
    assert _exams(folder) == []
    assert (folder / "grades-of-the-course.db").exists()
    assert not (folder / "lime-tuner-grades.db").exists()


def test_tokens_can_be_hashed(folder: Path, cli: Cli) -> None:
    lines = cli.ok("grade", "--tokens", "tokens", "--hash-tokens").splitlines()
    assert [line.split()[0] for line in lines] == ["red", "blue"]
    assert all(re.fullmatch(r"\w+ sha256:[0-9a-f]{64}", line) for line in lines)
    del folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--tokens"),
        (("--tokens", "nothing"), "nothing"),
        (("--tokens", "tokens", "--truth", "nowhere"), "nowhere"),
        (("--tokens", "tokens", "--port", "70000", "--catalog", "demo"), "port"),
        (("--tokens", "tokens", "--cutoff", "0"), "cutoff"),
        (("--tokens", "tokens", "--slots", "0"), "slots"),
        (("--tokens", "tokens", "--storage", "sqlite:////no/such/folder/g.db"), "folder"),
        (("--tokens", "tokens", "--catalog", "demo", "--truth", "empty"), "empty"),
        (("--tokens", "tokens", "--catalog", "demo", "--host", "no.such.host.invalid"), "host"),
    ],
)
def test_wrong_calls_are_one_line(
    folder: Path, cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    (folder / "empty").mkdir()
    assert says in cli.refused("grade", *arguments)
