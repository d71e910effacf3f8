"""Fixtures of the tests of the search and of the command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from explainers.classifiers import Classifier
from studies.storage.heartbeats import VARIABLE as HEARTBEAT
from tests.tuner import tiny
from tests.tuner.command_line import Cli
from tests.tuner.processes import ROOT
from tuner.runtime.calibration import runtime_model_for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("STORAGE", "ASSETS", "LOG", "NOTIFY"):
        monkeypatch.delenv(f"LIME_TUNER_{name}", raising=False)
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture
def tiny_catalogue(
    here: Path, cache: Path, tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """``demo.toml`` in the working folder, and its network where other processes find it; its
    seconds are measured. See ``tests.tuner.tiny``."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    runtime_model_for(tiny_classifier, tiny.tiny_picture("house")[0])
    assert list((cache / "runtime").iterdir())
    return tiny.write_catalogue(here)


@pytest.fixture
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed is found dead after eight seconds instead of twenty."""
    monkeypatch.setenv(HEARTBEAT, "2")


@pytest.fixture(scope="session")
def tiny_classifier() -> Classifier:
    """The network of ``tests.tuner.tiny``."""
    return tiny.make()


@pytest.fixture(autouse=True)
def small_space(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven superpixel maps in the default search space instead of 301.

    A search with the ``ceiling`` sampler begins by computing them all. Tests of the space itself
    are marked ``whole_space``.
    """
    if "whole_space" not in request.keywords:
        monkeypatch.setattr("tuner.problem.search_space._DEFAULT_MAPS", tiny.SMALL_MAPS)


@pytest.fixture(autouse=True)
def silent_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, the line of an error is the only one."""
    monkeypatch.setattr("tuner.cli.output.progress.PATIENCE", math.inf)
