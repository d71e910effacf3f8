"""Send GET requests to a WSGI application from inside an ASGI one."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["WsgiAnswer", "ask_wsgi"]

WsgiAnswer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""


def ask_wsgi(
    app: WSGIApplication, path: str, query: str, headers: Iterable[tuple[str, str]]
) -> WsgiAnswer:
    """Send one GET request, and block until it is answered.

    Args:
        path: decoded, as in ASGI.
    """
    environ: dict[str, Any] = {
        "PATH_INFO": path.encode("utf-8").decode("latin-1"),  # as PEP 3333 requires
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_ACCEPT_ENCODING": "",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
    setup_testing_defaults(environ)
    started: list[tuple[int, list[tuple[str, str]]]] = []

    def start(status: str, found: list[tuple[str, str]], error: object = None) -> Any:
        del error
        started[:] = [(int(status.split(" ", 1)[0]), found)]
        return lambda data: None

    parts = app(environ, start)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return (*started[0], body)
