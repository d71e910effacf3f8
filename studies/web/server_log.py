"""The log of a server, for reading in a terminal."""

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
    """Writes escaped lines to stderr, and limits their number so that clients cannot fill the disk.

    Warnings of the same kind are written up to twenty times a minute; further ones are counted. The
    kind is the message without its arguments, or ``extra={"kind": ...}``, which limits records of
    lower levels, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless there were too many of its kind."""
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
        """Return how many were left out before this record; ``None`` to leave it out, too."""
        kind = getattr(record, "kind", None)
        if kind is None and record.levelno < logging.WARNING:
            return 0
        now, key = time.monotonic(), (record.name, str(kind or record.msg))
        window = self._kinds.get(key)
        if window is None or now - window.since > _WINDOW_SECONDS:
            if len(self._kinds) > 1000:  # bounds the memory that it takes
                self._kinds.clear()
            self._kinds[key] = _Window(now, 1)
            return 0 if window is None else max(0, window.count - _A_WINDOW)
        window.count += 1
        return 0 if window.count <= _A_WINDOW else None


def log_to_stderr(form: str = "%(message)s", level: int = logging.INFO) -> None:
    """Send the log of this process to stderr by :class:`ServerLog`."""
    handler = ServerLog()
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # At the level WARNING it logs every malformed request.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
