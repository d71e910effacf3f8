"""What a server writes: for a person, and not more than anybody reads."""

from __future__ import annotations

import logging

import pytest

from explainers.messages import escaped, one_line
from studies.web.server_log import ServerLog


def _logger(handler: ServerLog) -> logging.Logger:
    made = logging.Logger("made up")
    made.addHandler(handler)
    return made


@pytest.mark.parametrize(
    ("text", "line", "log"),
    [
        ("plain – ünïcode", "plain – ünïcode", "plain – ünïcode"),
        ("\x1b[31mred", "[31mred", r"\x1b[31mred"),
        ("a\u202egnp.exe\u2066", "a gnp.exe", r"a\u202egnp.exe\u2066"),
        ("a\u2028b\x85c", "a b c", r"a\u2028b\x85c"),
        ("half \ud800", "half", r"half \ud800"),
        ("two\nlines\t.", "two lines .", "two\nlines\t."),
        ("\u200e\u200f\ufeff\0", "", r"\u200e\u200f\ufeff\x00"),
    ],
)
def test_foreign_text(text: str, line: str, log: str) -> None:
    assert one_line(text) == line
    assert escaped(text) == log
    escaped(text).encode()


def test_lines_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    _logger(ServerLog()).warning("file %s", "\u202e\x1b[2J\ud800")
    assert capsys.readouterr().err == "file \\u202e\\x1b[2J\\ud800\n"


def test_the_same_is_not_written_for_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("studies.web.server_log.time.monotonic", lambda: now[0])
    logger = _logger(ServerLog())
    for number in range(1000):
        logger.warning("turned away: %d", number)
        logger.info("%s", number, extra={"kind": "nobody's"})
        logger.info("%s", "an answer")
    lines = capsys.readouterr().err.splitlines()
    assert sum("turned away" in line for line in lines) == 20
    assert sum(line.isdecimal() for line in lines) == 20
    assert lines.count("an answer") == 1000  # what somebody asked for is never left out
    logger.warning("another")
    now[0] += 61
    logger.warning("turned away: %d", 1000)
    assert capsys.readouterr().err.splitlines() == [
        "another", "turned away: 1000 (980 more of these were not written)",
    ]  # fmt: skip
