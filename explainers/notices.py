"""What the user is told once: a guess that helps must not happen in silence, nor be repeated."""

from __future__ import annotations

import logging
import multiprocessing

__all__ = ["tell_once"]

_told: set[str] = set()


def tell_once(logger: logging.Logger, line: str) -> None:
    """Warn, unless this process or the one that started it has said the same already."""
    if line in _told or multiprocessing.current_process().name != "MainProcess":
        return
    _told.add(line)
    logger.warning("%s", line)
