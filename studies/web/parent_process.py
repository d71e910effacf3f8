"""Lines that the parent process writes to this one's standard input, and when it has ended.

Import it before anything heavy, so that the end of the parent is noticed during those imports.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

__all__ = ["parent_lines"]


def parent_lines(when_gone: Callable[[], None]) -> queue.Queue[str]:
    """The lines of standard input, as they come; listens in a thread.

    Args:
        when_gone: called in that thread when the input ends: it was closed, or its process died.
    """
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        when_gone()

    threading.Thread(target=listen, daemon=True).start()
    return lines
