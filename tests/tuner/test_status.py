"""``status``: what it shows, and that a terminal is kept up to date."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

from explainers.references import Reference
from studies.results.attributes import WORKER
from studies.results.summary import image_document
from studies.storage import open_storage
from tests.studies.study_samples import random_studies
from tests.tuner.command_line import Cli


def test_who_is_at_work(here: Path, cli: Cli) -> None:
    url = "sqlite:///lime-tuner.db"
    random_studies(url, "p", ("a",), 4)
    storage = open_storage(url)
    study = optuna.load_study(study_name="p/a", storage=storage)
    trial = study.ask()
    trial.set_user_attr(WORKER, "here:1")
    storage.record_heartbeat(trial._trial_id)
    found = json.loads(cli.ok("status", "--json"))["p/a"]
    assert {"trials", "best", "default", "reliability", "last_activity"} <= set(found)
    assert found["workers"] == ["here:1"]
    assert [(each["trial"], each["silent"]) for each in found["running"]] == [(4, False)]
    assert found["failures"] == []
    best = study.best_trial
    assert found["last_improvement"]["trial"] == best.number
    assert found["last_improvement"]["trials_since"] == 3 - best.number
    assert found["last_improvement"]["stagnant"] is False
    text = cli.ok("status")
    assert "here:1: p/a trial 4, heard" in text
    assert f"#{best.number}, " in text


def test_the_share_that_a_reference_covers(here: Path, cli: Cli) -> None:
    url = "sqlite:///lime-tuner.db"
    random_studies(url, "p", ("old", "new"), 2)
    mask = np.zeros((10, 10), bool)
    mask[:3, :7] = True
    study = optuna.load_study(study_name="p/new", storage=open_storage(url))
    study.set_user_attr("reference", Reference(mask, "masks").to_json())
    found = json.loads(cli.ok("status", "--json"))
    assert {key: each["coverage"] for key, each in found.items()} == {"p/old": None, "p/new": 0.21}
    assert image_document(study)["coverage"] == 0.21
    text = cli.ok("status")
    assert "share" in text and "0.21" in text


def test_watching_needs_a_terminal(here: Path, cli: Cli) -> None:
    assert "terminal" in cli.refused("status", "--watch", status=(2,))
    assert "--json" in cli.refused("status", "--watch", "--json", status=(2,))


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_a_terminal_is_kept_up_to_date_until_interrupted(here: Path) -> None:
    url = f"sqlite:///{here / 'lime-tuner.db'}"
    random_studies(url, "first", ("a",), 2)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", "status", "--watch", "--storage", url],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(theirs)
    try:
        assert _shown(ours, "first/a")
        random_studies(url, "second", ("b",), 2)
        assert _shown(ours, "second/b")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _shown(terminal: int, text: str) -> bool:
    """Whether a text comes up on a terminal in time."""
    seen, deadline = "", time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
        if text in seen:
            return True
    return False
