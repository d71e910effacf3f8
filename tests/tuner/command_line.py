"""The command line run in this process, as the tests want it."""

from __future__ import annotations

import logging
import sys

import pytest

from tuner.cli import main
from tuner.log_file import hush_warnings

FEW_MAPS = (
    "--fix", "segmentation=slic", "--fix", "slic.sigma=0", "--fix", "slic.compactness=5",
)  # fmt: skip
"""Twelve superpixel maps instead of hundreds, for tests that are not about the search."""


class Cli:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["lime-tuner", *arguments])
        self._capsys.readouterr()
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:  # a server logs to stderr for the rest of its process
            root.handlers[:] = before
            root.setLevel(level)
            hush_warnings()
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    def ok(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert code == 0, err
        return out

    def refused(self, *arguments: str, status: tuple[int, ...] = (1, 2)) -> str:
        """The one line on stderr."""
        code, out, err = self(*arguments)
        assert code in status, (code, out, err)
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        assert "Traceback" not in err
        return lines[0]
