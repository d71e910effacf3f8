"""Ending by a signal, but not before what was begun is cleared away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["tidy_end"]

_NAMES = ("SIGTERM", "SIGHUP")


class _Ended(BaseException):
    """A signal came; not an Exception, so that nobody on the way takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def tidy_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave every ``with`` inside it, and then end the process.

    It ends by the signal itself, as whoever sent it expects. A second one changes nothing: what is
    cleared away takes seconds. What is ignored (SIGHUP under nohup) stays ignored. For the main
    thread.
    """
    came: list[int] = []

    def heard(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        if len(came) == 1:
            raise _Ended(number)

    wanted = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {
        number: signal.signal(number, heard)
        for number in wanted
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    except _Ended as ended:
        signal.signal(ended.number, signal.SIG_DFL)
        signal.raise_signal(ended.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
