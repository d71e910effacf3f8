"""Taking passwords out of text that is shown, logged or sent."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "is_secret_name", "without_passwords"]

HIDDEN = "***"
_SECRET_NAME = re.compile(r"\w*(?:password|passwd|passphrase|secret|token)|pwd", re.IGNORECASE)
# Whatever characters a password has, also those that should have been escaped: all from the first
# colon to the last at sign belongs to it. A user may be called NAME@SERVER.
_IN_URL = re.compile(r"\b([a-z][\w+.-]*://[^\s:/'\"]*):\S*@", re.IGNORECASE)
# In a URL's query, as drivers write what they connect with, and in JSON.
_ASSIGNED = re.compile(
    r"((?:password|passwd|passphrase|pwd)(?:\s*=|['\"]\s*[:=])\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,)'\"]+)",
    re.IGNORECASE,
)


def without_passwords(text: str) -> str:
    """The text with ``***`` for passwords in URLs, their queries, and ``password=...``."""
    return _ASSIGNED.sub(rf"\1{HIDDEN}", _IN_URL.sub(rf"\1:{HIDDEN}@", text))


def is_secret_name(name: str) -> bool:
    """Whether what a URL's query calls so is to be hidden."""
    return _SECRET_NAME.fullmatch(name) is not None
