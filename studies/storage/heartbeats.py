"""The interval of heartbeats, and how long a worker may be silent before it counts as dead."""

from __future__ import annotations

import os

from explainers.errors import InvalidInput

__all__ = ["VARIABLE", "grace_seconds", "heartbeat_seconds"]

VARIABLE = "LIME_TUNER_HEARTBEAT"
_USUAL, _MOST = 5, 600


def heartbeat_seconds() -> int:
    """Seconds between two heartbeats of a trial, and of a service's job that is prepared.

    All workers on a database must use the same, or they take running trials for dead.

    Raises:
        InvalidInput: the environment variable is not a whole number of seconds from 1 to 600.
    """
    text = os.environ.get(VARIABLE) or str(_USUAL)
    seconds = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= seconds <= _MOST:
        raise InvalidInput(f"{VARIABLE} is {text!r}: give a whole number of seconds, 1 to {_MOST}")
    return seconds


def grace_seconds() -> int:
    """Seconds without a heartbeat after which a worker is taken for dead: three may be lost."""
    return 4 * heartbeat_seconds()
