"""Read lines that the parent process writes to standard input, and notice when the parent ends."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

__all__ = ["parent_lines"]


def parent_lines(when_gone: Callable[[], None]) -> queue.Queue[str]:
    """Return a queue that a thread fills with the lines of standard input.

    Args:
        when_gone: called in that thread when the input ends, as the parent closed it or died.
    """
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        when_gone()

    threading.Thread(target=listen, daemon=True).start()
    return lines
