"""Serving an application on a socket: uvicorn with our bounds, our log, and our end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explainers.errors import LimeTunerError
from explainers.messages import escaped
from studies.http.connections import ConnectionLimits, connection_limits, watched_protocol

if TYPE_CHECKING:
    from types import FrameType

    import uvicorn
    from fastapi import FastAPI

    from studies.http.listener import Listener

__all__ = ["ServerLog", "log_to_stderr", "made_server", "run_server"]

_GOODBYE_SECONDS = 2
_BACKLOG = 512
_WINDOW_SECONDS = 60.0
_A_WINDOW = 20
_QUIET = ("alembic", "matplotlib", "fontTools")


@dataclass
class _Told:
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
        self._kinds: dict[tuple[str, str], _Told] = {}

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
        told = self._kinds.get(key)
        if told is None or now - told.since > _WINDOW_SECONDS:
            if len(self._kinds) > 1000:  # no kind is worth more than the rest of the process
                self._kinds.clear()
            self._kinds[key] = _Told(now, 1)
            return 0 if told is None else max(0, told.count - _A_WINDOW)
        told.count += 1
        return 0 if told.count <= _A_WINDOW else None


def log_to_stderr(form: str = "%(message)s", level: int = logging.INFO) -> None:
    """Let the process log as a server does."""
    handler = ServerLog()
    handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in _QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of every request that is none.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def made_server(
    app: FastAPI, bound: Listener, limits: ConnectionLimits | None = None
) -> uvicorn.Server:
    """A server that ``run(sockets=[bound])`` starts."""
    import uvicorn

    limits = limits or connection_limits()
    bound.most = limits.open
    return uvicorn.Server(
        uvicorn.Config(
            app, http=watched_protocol(limits), ws="none", loop="asyncio", log_config=None,
            access_log=False, server_header=False, backlog=_BACKLOG,
            timeout_graceful_shutdown=_GOODBYE_SECONDS, lifespan="on",
        )
    )  # fmt: skip


def run_server(app: FastAPI, bound: Listener) -> None:
    """Serve until a signal comes, which is raised again at the end.

    Raises:
        LimeTunerError: the application did not start.
    """
    server = made_server(app, bound)
    with _hanging_up_ends(server):
        server.run(sockets=[bound])
    if not server.started:
        raise LimeTunerError("the server did not start: see the lines above")


@contextmanager
def _hanging_up_ends(server: uvicorn.Server) -> Iterator[None]:
    """SIGHUP as uvicorn takes SIGTERM, unless it is ignored, as under nohup."""
    hang_up = getattr(signal, "SIGHUP", None)
    if (
        hang_up is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(hang_up) is signal.SIG_IGN
    ):
        yield
        return
    came = threading.Event()

    def heard(number: int, frame: FrameType | None) -> None:
        del number, frame
        came.set()
        server.should_exit = True

    before = signal.signal(hang_up, heard)
    try:
        yield
    finally:
        signal.signal(hang_up, before)
    if came.is_set():
        signal.raise_signal(hang_up)
