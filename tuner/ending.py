"""Ending by a signal, but not before what was begun is cleared away."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["tidy_end"]

_NAMES = ("SIGTERM", "SIGHUP")


class _Ended(KeyboardInterrupt):
    """A signal came: whoever tidies up after Ctrl-C does it now."""


@contextmanager
def tidy_end(*, by_signal: bool = True) -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave every ``with`` inside it, and then end the process.

    A second one changes nothing: what is cleared away takes seconds. What is ignored (SIGHUP under
    nohup) stays ignored. For the main thread.

    Args:
        by_signal: end by the signal itself, as whoever sent it expects; otherwise with the status
            that a shell gives to that, after what was registered for the end of the process
            (joblib's worker processes).
    """
    came: list[int] = []

    def heard(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        if len(came) == 1:
            raise _Ended

    wanted = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {
        number: signal.signal(number, heard)
        for number in wanted
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    except BaseException:  # what became of the exception on its way
        if not came:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came and not by_signal:
        sys.exit(128 + came[0])
    if came:
        signal.signal(came[0], signal.SIG_DFL)
        signal.raise_signal(came[0])
