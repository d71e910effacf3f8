"""Benchmarks are run by hand, and break unseen when what they measure is renamed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

NAMES = sorted(
    path.stem
    for path in (Path(__file__).parent / "benchmarks").glob("*.py")
    if "def main(" in path.read_text() and path.stem != "memory_child"
)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_can_be_asked_what_it_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tests.benchmarks.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    assert f"tests.benchmarks.{name}" in capsys.readouterr().out
