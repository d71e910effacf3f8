"""Remove passwords from text that is shown, logged or sent."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "is_secret_name", "without_passwords"]

HIDDEN = "***"
_SECRET_NAME = re.compile(r"\w*(?:password|passwd|passphrase|secret|token)|pwd", re.IGNORECASE)
# A password is all from the first colon to the last at sign, so characters in it that should have
# been escaped are hidden, too. A user may be called NAME@SERVER.
_IN_URL = re.compile(r"\b([a-z][\w+.-]*://[^\s:/'\"]*):\S*@", re.IGNORECASE)
# In a URL's query, in a driver's connection string, and in JSON.
_ASSIGNED = re.compile(
    r"((?:password|passwd|passphrase|pwd)(?:\s*=|['\"]\s*[:=])\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,)'\"]+)",
    re.IGNORECASE,
)


def without_passwords(text: str) -> str:
    """Replace passwords in URLs, in their queries and in ``password=...`` by ``***``."""
    return _ASSIGNED.sub(rf"\1{HIDDEN}", _IN_URL.sub(rf"\1:{HIDDEN}@", text))


def is_secret_name(name: str) -> bool:
    """Whether the value of a URL's query parameter with this name is to be hidden."""
    return _SECRET_NAME.fullmatch(name) is not None
