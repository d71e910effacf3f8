"""Nothing of ours looks up a name, calls anybody or leaves an identifier, whatever the engine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.tuner.command_line import FEW_MAPS
from tests.tuner.processes import ROOT
from tests.tuner.watched_network import Seen, watched, why_not


@pytest.fixture(scope="module", autouse=True)
def network() -> None:
    """A network of its own, or none of these tests."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("LIME_TUNER_REQUIRE_ASSETS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def _watched(home: Path, *command: str, **more: str) -> Seen:
    """Of a user who has set nothing; libraries keep still where they think that a test runs."""
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    return watched(command, home, {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more})


def _strangers(home: Path) -> list[str]:
    """Files in the home folder that are neither ours nor matplotlib's list of fonts."""
    own = (home / "work", home / ".cache" / "lime-tuner", home / ".cache" / "matplotlib",
           home / ".config" / "matplotlib")  # fmt: skip
    files = [each for each in home.rglob("*") if each.is_file()]
    return [str(each) for each in files if not any(each.is_relative_to(one) for one in own)]


@pytest.mark.parametrize(
    ("does", "asked", "called"),
    [
        ("socket.getaddrinfo('tell.example', 443)", {"tell.example"}, set()),
        ("socket.create_connection(('tell.example', 443), 0.2)", {"tell.example"}, {"192.0.2.9"}),
        ("socket.create_connection(('198.51.100.7', 443), 0.2)", set(), {"198.51.100.7"}),
        ("socket.socket(2, 2).sendto(b'x', ('198.51.100.7', 9))", set(), {"198.51.100.7"}),
        ("socket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))", set(), set()),
    ],
)
def test_what_a_command_tells_is_seen(
    tmp_path: Path, does: str, asked: set[str], called: set[str]
) -> None:
    seen = _watched(tmp_path, sys.executable, "-c", f"import socket; {does}")
    assert (seen.asked, seen.called) == (asked, called)


def test_tuning_tells_nobody(tmp_path: Path, demo_measured: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    # Seconds are measured elsewhere; the network is converted here.
    shutil.copytree(demo_measured / "runtime", tmp_path / ".cache" / "lime-tuner" / "runtime")
    seen = _watched(
        tmp_path, sys.executable, "-m", "tuner", "tune", "--catalog", "demo", "--images", "house",
        "--engine", "auto", "--trials", "2", "--seeds", "1", *FEW_MAPS,
        "--storage", f"sqlite:///{work / 'lime-tuner.db'}",
    )  # fmt: skip
    assert seen.status == 0, seen.output
    assert (seen.asked, seen.called) == (set(), set())
    assert _strangers(tmp_path) == []


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None
    or tuple(map(int, importlib.metadata.version("onnxruntime").split(".")[:2])) < (1, 29),
    reason="only newer versions of ONNX Runtime report what they are used for",
)
def test_onnx_runtime_leaves_an_identifier_where_it_is_asked_to(tmp_path: Path) -> None:
    """What the test above would see, were it not switched off."""
    program = "from explainers.telemetry import switch_off_telemetry as off; off(); " \
        "import onnxruntime"  # fmt: skip
    _watched(tmp_path, sys.executable, "-c", program)
    assert _strangers(tmp_path) == []
    _watched(tmp_path, sys.executable, "-c", program, ORT_DISABLE_TELEMETRY="0")
    assert any("deviceid" in each for each in _strangers(tmp_path))
