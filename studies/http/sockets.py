"""A socket to serve on, or one line that says why not."""

from __future__ import annotations

import socket

from explainers.errors import InvalidInput, LimeTunerError
from studies.http.listener import Listener

__all__ = ["bound_socket"]


def bound_socket(host: str, port: int) -> Listener:
    """A TCP socket that nobody else can take; who serves on it lets it listen.

    Args:
        port: 0 for a free one.

    Raises:
        InvalidInput: no such port, or a host that has no address here.
        LimeTunerError: the port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise InvalidInput(f"--port {port}: give 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise InvalidInput(f"--host {host} has no address ({error.strerror})") from error
    made = Listener(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise LimeTunerError(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another --port"
        ) from error
    return made
