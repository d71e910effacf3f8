"""The log of a job: one small file that several processes write to.

It receives the records of the standard loggers of our packages. Secrets must not be logged: log a
storage as ``studies.storage.describe`` gives it, and an address only up to its host.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from explainers.messages import one_line
from studies.passwords import without_passwords

__all__ = [
    "LOG_FILE", "SharedLogFile", "hush_warnings", "join_log", "log_to", "record_error",
    "tell_warnings",
]  # fmt: skip

LOG_FILE = "lime-tuner.log"
_PACKAGES = ("tuner", "studies", "explainers", "dissection")
_MOST_BYTES, _OLDER_FILES = 1_000_000, 3
_LONGEST = 2000  # characters of a warning
_attached: list[SharedLogFile] = []


class _Formatter(logging.Formatter):
    """Removes passwords: tracebacks of libraries may repeat the URL that they were given."""

    def format(self, record: logging.LogRecord) -> str:
        return without_passwords(super().format(record))


class SharedLogFile(RotatingFileHandler):
    """A rotating log that any number of processes write to.

    Each record locks the folder, opens the file, rotates it when it is full, and closes it. So no
    process goes on writing to a file that another one has renamed. That is fast enough for a few
    records a minute. When the log cannot be written, one warning goes to stderr and work goes on.
    """

    def __init__(self, path: Path, report_errors: bool, most_bytes: int = _MOST_BYTES) -> None:
        super().__init__(
            path, maxBytes=most_bytes, backupCount=_OLDER_FILES, encoding="utf-8", delay=True
        )
        self.path, self._report_errors = path, report_errors
        self.setFormatter(_Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with _locked(self.path.parent):
            super().emit(record)
            if self.stream is not None:
                try:
                    self.stream.close()
                except OSError:  # what is still in its buffer does not fit on the disk
                    self.handleError(record)
                self.stream = None

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once, on stderr, why the log cannot be written."""
        error = sys.exc_info()[1]
        if not self._report_errors:
            return
        self._report_errors = False
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write(f"the log {self.path} cannot be written ({reason}); going on without\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, or no lock where the system or disk has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            pass
        else:
            stack.callback(os.close, descriptor)  # closing also releases the lock
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


class _Stderr(logging.Handler):
    """Writes the message of each warning to stderr, in one line."""

    def emit(self, record: logging.LogRecord) -> None:
        text = without_passwords(record.getMessage())
        sys.stderr.write(f"{one_line(text, _LONGEST)}\n")


_stderr = _Stderr(logging.WARNING)


def tell_warnings() -> None:
    """Show logged warnings on stderr, also where no log file is kept."""
    for package in _PACKAGES:
        logging.getLogger(package).addHandler(_stderr)


def hush_warnings() -> None:
    """Undo :func:`tell_warnings`, for servers that show log records in a way of their own."""
    for package in _PACKAGES:
        logging.getLogger(package).removeHandler(_stderr)


def join_log(path: Path | None, *, report_errors: bool = False) -> None:
    """From now on write this process's log records to ``path``, or to no file where ``None``.

    Args:
        report_errors: say on stderr when it cannot be written; else somebody else does.
    """
    now = _attached[0].path if _attached else None
    if now == path:
        return
    _leave()
    if path is None:
        return
    handler = SharedLogFile(path, report_errors)
    _attached.append(handler)
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    tell_warnings()


def _leave() -> None:
    while _attached:
        handler = _attached.pop()
        for package in _PACKAGES:
            logger = logging.getLogger(package)
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        handler.close()


@contextmanager
def log_to(path: Path | None) -> Iterator[None]:
    """Write this process's log records to ``path`` inside the ``with``; ``None``: to no file."""
    before = _attached[0].path if _attached else None
    join_log(path, report_errors=True)
    try:
        yield
    finally:
        join_log(before)


def record_error(path: Path, title: str, error: BaseException) -> None:
    """Write an error with its traceback to a log file only.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8"):
        pass
    handler = SharedLogFile(path, report_errors=False)
    trace = (type(error), error, error.__traceback__)
    handler.emit(logging.LogRecord(__name__, logging.ERROR, __file__, 0, title, None, trace))
    handler.close()
