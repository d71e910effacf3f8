"""An application on a real socket, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from studies.web.http import ConnectionLimits, made_server
from studies.web.listener import bound_socket

__all__ = ["serving"]


@contextmanager
def serving(app: FastAPI, limits: ConnectionLimits | None = None) -> Iterator[str]:
    """The URL under which it is served."""
    with bound_socket("127.0.0.1", 0) as bound:
        server = made_server(app, bound, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
