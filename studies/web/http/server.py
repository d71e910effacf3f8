"""Serve an application on a socket by uvicorn, with our limits and our handling of signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware

from explainers.errors import LimeTunerError
from studies.web.http.connections import ConnectionLimits, connection_limits, watched_protocol
from studies.web.http.entrance import Entrance
from studies.web.http.problems import add_problem_handlers
from studies.web.listener import Listener

__all__ = ["made_app", "made_server", "run_server"]

_GOODBYE_SECONDS = 2
_BACKLOG = 512


def made_app(
    title: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    *middleware: Middleware,
    description: str = "",
) -> FastAPI:
    """Create an application without routes, whose errors are problem documents.

    Args:
        middleware: applied after :class:`Entrance`, in this order.
    """
    app = FastAPI(
        title=title, version="1", description=description, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # those pages load scripts from elsewhere
        middleware=[Middleware(Entrance), *middleware],
    )  # fmt: skip
    add_problem_handlers(app)
    return app


def made_server(
    app: FastAPI, bound: Listener, limits: ConnectionLimits | None = None
) -> uvicorn.Server:
    """Create a server that ``run(sockets=[bound])`` starts."""
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
    """Serve until a signal arrives, which is raised again at the end.

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
    """Handle SIGHUP as uvicorn handles SIGTERM, unless it is ignored, as under nohup."""
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
