"""Lines that are said once in a process, however often their cause comes again."""

from __future__ import annotations

import logging
import multiprocessing

__all__ = ["tell_once"]

_MOST = 4096  # a service may run for months
_told: set[str] = set()


def tell_once(logger: logging.Logger, line: str, subject: str | None = None) -> None:
    """A warning; in the log only where a process of ours has started this one, and said it.

    Args:
        subject: equal for two lines of which the second says nothing new; by default the line.
    """
    subject = subject or line
    if subject not in _told:
        if len(_told) >= _MOST:
            _told.clear()
        _told.add(subject)
        helper = multiprocessing.parent_process() is not None
        logger.log(logging.INFO if helper else logging.WARNING, "%s", line)
