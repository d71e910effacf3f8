"""The log of a server, for a person who reads it in a terminal."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass

from explainers.messages import escaped

__all__ = ["ServerLog", "log_to_stderr"]

_WINDOW_SECONDS = 60.0
_A_WINDOW = 20
_QUIET = ("alembic", "matplotlib", "fontTools")


@dataclass
class _Window:
    since: float
    count: int = 0


class ServerLog(logging.Handler):
    """Lines for a person: what strangers send is escaped, and nobody can fill the disk.

    A warning of the same kind is written some twenty times a minute, then counted. The kind is the
    message before its arguments are put in, or ``extra={"kind": ...}``, which other levels may
    have, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, unless there were too many."""
        missed = self._missed(record)
        if missed is None:
            return
        text = escaped(self.format(record))
        if missed:
            text = f"{text} ({missed} more of these were not written)"
        try:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def _missed(self, record: logging.LogRecord) -> int | None:
        """``None``: too many; otherwise how many were left out before this one."""
        kind = getattr(record, "kind", None)
        if kind is None and record.levelno < logging.WARNING:
            return 0
        now, key = time.monotonic(), (record.name, str(kind or record.msg))
        window = self._kinds.get(key)
        if window is None or now - window.since > _WINDOW_SECONDS:
            if len(self._kinds) > 1000:  # no kind is worth more than the rest of the process
                self._kinds.clear()
            self._kinds[key] = _Window(now, 1)
            return 0 if window is None else max(0, window.count - _A_WINDOW)
        window.count += 1
        return 0 if window.count <= _A_WINDOW else None


def log_to_stderr(form: str = "%(message)s", level: int = logging.INFO) -> None:
    """Let the process log as a server does."""
    handler = ServerLog()
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every request that is none.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
