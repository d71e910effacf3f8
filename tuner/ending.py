"""End a process on SIGTERM or SIGHUP only after its ``with`` blocks have cleaned up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["tidy_end"]

_NAMES = ("SIGTERM", "SIGHUP")


class _Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived; handled like Ctrl-C by whatever cleans up."""


@contextmanager
def tidy_end(*, by_signal: bool = True) -> Iterator[None]:
    """On SIGTERM or SIGHUP, leave every ``with`` inside this one, then end the process.

    A second signal is ignored, as cleaning up takes seconds at most. A signal that the process
    ignores (SIGHUP under nohup) stays ignored. Must be entered in the main thread.

    Args:
        by_signal: end by raising the signal again, which the sender can see; otherwise exit with
            the status that a shell reports for it (128 + number), so that exit handlers run
            (joblib's end its worker processes).
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
    except BaseException:  # _Ended, or the exception that the interrupted code raised instead
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
