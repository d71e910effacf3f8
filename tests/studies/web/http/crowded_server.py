"""A small server in a process of its own, with few descriptors: ``DESCRIPTORS``."""

from __future__ import annotations

import resource
import sys

from fastapi import FastAPI

from studies.web.http import Entrance, add_problem_handlers, run_server
from studies.web.listener import bound_socket
from studies.web.server_log import log_to_stderr

__all__ = ["small_app"]


def small_app() -> FastAPI:
    """One page, behind what our servers have in common."""
    app = FastAPI()
    app.add_middleware(Entrance)
    add_problem_handlers(app)

    @app.get("/at-once")
    async def at_once() -> str:
        return "here"

    return app


def main(descriptors: int) -> None:
    """Serve until a signal comes."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    log_to_stderr()
    with bound_socket("127.0.0.1", 0) as bound:
        bound.listen()  # so that whoever reads the port may come
        sys.stdout.write(f"{bound.getsockname()[1]}\n")
        sys.stdout.flush()
        run_server(small_app(), bound)


if __name__ == "__main__":
    main(int(sys.argv[1]))
