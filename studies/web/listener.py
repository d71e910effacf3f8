"""A listening socket that takes no more connections than the process has file descriptors for.

asyncio answers a lack of descriptors by logging a traceback for each place in the queue, and by
trying again as often (https://github.com/python/cpython/issues/151615). Here a connection that
cannot be had is taken off the queue and closed, and that is told now and then.
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
"""Connections above the limit that may be open until the oldest ones are closed for them."""
_PAUSE_SECONDS = 0.01
_VANISHED_SECONDS = 60
_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_logger = logging.getLogger("lime_tuner.http")


class Listener(socket.socket):
    """Accepts so many connections at a time.

    Attributes:
        most: connections that whoever serves on it keeps; it must close old ones for new ones.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.most: int | None = None
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Close it, and what is kept for an emergency."""
        self._release()
        super().close()

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection that is noticed to be dead when the other side has vanished.

        Raises:
            BlockingIOError: there is none, or no room for one just now.
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
        """Take one connection off the queue with the descriptor that is kept for that."""
        _logger.warning("a connection is turned away: %s", error.strerror)
        if self._reserve is None:
            time.sleep(_PAUSE_SECONDS)  # another thread uses it: do not try again at once
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
    """Let the system find out when the other machine has vanished without closing."""
    with suppress(OSError):  # not every system has all of them
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in _OPTIONS:
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _VANISHED_SECONDS
            )


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
