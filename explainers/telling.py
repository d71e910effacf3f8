"""Lines that are said once in a process, however often their cause comes again."""

from __future__ import annotations

import logging
import multiprocessing

__all__ = ["tell_once"]

_told: set[str] = set()


def tell_once(logger: logging.Logger, subject: str, line: str) -> None:
    """A warning; in the log only where a process of ours has started this one, and said it.

    Args:
        subject: equal for two lines of which the second says nothing new.
    """
    if subject not in _told:
        _told.add(subject)
        helper = multiprocessing.parent_process() is not None
        logger.log(logging.INFO if helper else logging.WARNING, "%s", line)
