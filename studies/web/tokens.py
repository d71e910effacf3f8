"""Teams by their tokens, of which only hashes are kept in memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from explainers.errors import InvalidInput

__all__ = ["Tokens", "hashed_lines", "read_tokens"]

_PREFIX = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Tokens:
    """Teams by the sha256 of their tokens."""

    teams: Mapping[str, str]

    def team_of(self, token: str | None) -> str | None:
        """Return the team of a token, or ``None``.

        The lookup is by hash, so that its time reveals nothing about similar tokens.
        """
        return None if not token else self.teams.get(_digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(path: Path) -> Tokens:
    """Read a file of lines ``TEAM TOKEN`` or ``TEAM sha256:HEX``; a team may have several.

    Empty lines and lines that begin with ``#`` are skipped.

    Raises:
        InvalidInput: it cannot be read, or a line is wrong; the message has the line's number, but
            nothing of its content.
    """
    teams: dict[str, str] = {}
    for number, team, digest in _lines(path):
        if digest in teams:
            raise InvalidInput(f"{path}, line {number}: that token stands there twice")
        teams[digest] = team
    if not teams:
        raise InvalidInput(f"{path} has no tokens: write one 'TEAM TOKEN' a line")
    return Tokens(teams)


def hashed_lines(path: Path) -> list[str]:
    """Return the lines of a file of tokens, with every token replaced by its hash."""
    return [f"{team} {_PREFIX}{digest}" for _, team, digest in _lines(path)]


def _lines(path: Path) -> list[tuple[int, str, str]]:
    """Return (line number, team, hash of the token) for each line."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InvalidInput(f"tokens {path} cannot be read ({reason})") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        team, _, token = line.strip().rpartition(" ")
        team = team.strip()
        if not team or len(team) > _LONGEST_NAME or not team.isprintable():
            raise InvalidInput(f"{path}, line {number}: write 'TEAM TOKEN' or 'TEAM sha256:HEX'")
        digest = _digest(token)
        if token.startswith(_PREFIX):
            digest = token[len(_PREFIX) :].lower()
            if not _HEX.fullmatch(digest):
                raise InvalidInput(f"{path}, line {number}: sha256: has 64 hexadecimal digits")
        found.append((number, team, digest))
    return found
