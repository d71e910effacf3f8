"""A listening socket that never runs out of file descriptors.

When descriptors run out, asyncio logs a traceback for each place in the queue, and retries as often
(https://github.com/python/cpython/issues/151615). Here a connection that cannot be accepted is
taken off the queue and closed, with a warning in the log.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
import weakref
from contextlib import suppress
from typing import Any

from explainers.errors import InvalidInput, LimeTunerError

__all__ = ["Listener", "bound_socket"]

_AT_A_TIME = 16
"""Connections that may be open above the limit until the oldest ones are closed."""
_PAUSE_SECONDS = 0.01
_VANISHED_SECONDS = 60
_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_logger = logging.getLogger("lime_tuner.http")


class Listener(socket.socket):
    """A socket that accepts a limited number of connections at a time.

    Attributes:
        most: connections that the server keeps open; it must close old ones to accept new ones.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.most: int | None = None
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Close the socket and its reserved descriptor."""
        self._release()
        super().close()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, with timeouts that detect a vanished client.

        Raises:
            BlockingIOError: no connection is waiting, or too many are open.
        """
        if self.most is not None:
            taken = sum(each.fileno() != -1 for each in self._accepted)
            if taken >= self.most + _AT_A_TIME:
                raise BlockingIOError(errno.EAGAIN, "as many are open as may be")
        try:
            made, address = super().accept()
        except OSError as error:
            if error.errno not in _OUT:
                raise
            self._turn_away(error)
            raise BlockingIOError(errno.EAGAIN, error.strerror) from error
        self._accepted.add(made)
        _notice_the_dead(made)
        return made, address

    def _turn_away(self, error: OSError) -> None:
        """Take one connection off the queue, by freeing the reserved descriptor, and close it."""
        _logger.warning("a connection is turned away: %s", error.strerror)
        if self._reserve is None:
            time.sleep(_PAUSE_SECONDS)  # another thread uses the descriptor: do not retry at once
        self._release()
        with suppress(OSError):
            super().accept()[0].close()
        with suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _release(self) -> None:
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            os.close(reserve)


def _notice_the_dead(made: socket.socket) -> None:
    """Let the system detect when the other machine vanishes without closing the connection."""
    with suppress(OSError):  # not every system has all options
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _OPTIONS:
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _VANISHED_SECONDS)


def bound_socket(host: str, port: int) -> Listener:
    """Bind a TCP socket, which does not listen yet.

    Args:
        port: 0 for a free one.

    Raises:
        InvalidInput: the port is out of range, or the host has no address.
        LimeTunerError: the port is taken, or must not be used.
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
