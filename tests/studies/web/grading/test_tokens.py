"""Tokens: two ways to write them, only hashes kept, nothing echoed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from explainers.errors import InvalidInput
from studies.web.grading.evaluations import RateLimit
from studies.web.tokens import hashed_lines, read_tokens


def test_plain_and_hashed_lines_mean_the_same(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("# who may submit\n\nteam one secret-1\nblue\tsecret-2\nblue secret-3\n")
    plain.write_text(plain.read_text().replace("\t", " "))
    hashed = tmp_path / "hashed"
    hashed.write_text("\n".join(hashed_lines(plain)))
    assert "secret" not in hashed.read_text()
    for file in (plain, hashed):
        tokens = read_tokens(file)
        assert [tokens.team_of(f"secret-{n}") for n in (1, 2, 3)] == ["team one", "blue", "blue"]
        for wrong in (None, "", "secret-4", hashlib.sha256(b"secret-1").hexdigest(), "ä", "\udcff"):
            assert tokens.team_of(wrong) is None
        assert "secret" not in repr(tokens)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lonely-secret\n", "line 1"),
        ("a secret-1\nb secret-1\n", "line 2"),
        ("a sha256:beef\n", "64 hexadecimal"),
        (f"{'x' * 200} secret-1\n", "line 1"),
        ("\x07 secret-1\n", "line 1"),
        ("# nobody\n", "no tokens"),
    ],
)
def test_wrong_lines_are_told_without_the_token(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=says) as caught:
        read_tokens(file)
    assert "secret" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_tokens(tmp_path / "tokens")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_tokens(tmp_path / "binary")


def test_so_many_an_hour_for_each_team() -> None:
    clock = [0.0]
    rate = RateLimit(2, now=lambda: clock[0])
    assert [rate.seconds_to_wait("a"), rate.seconds_to_wait("a")] == [0, 0]
    clock[0] = 100.0
    assert rate.seconds_to_wait("a") == 3500
    assert rate.seconds_to_wait("b") == 0
    clock[0] = 3600.5
    assert rate.seconds_to_wait("a") == 0
