"""Limit the number of connections of a server, and the time that a client may be idle.

uvicorn has no deadline for the head of a request (https://github.com/Kludex/uvicorn/issues/157),
and none for a client that does not read. Here a connection *waits* until the head of a request has
arrived, and again after its answer; otherwise it is *busy*. A connection that waits too long is
closed, and a new one takes the place of the one that has waited longest. The limit of busy
connections is below that of open ones, so that there is always one to close.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

__all__ = [
    "STATE_KEY", "ConnectionLimits", "WatchedProtocol", "connection_limits", "watched_protocol",
]  # fmt: skip

STATE_KEY = "lime_tuner_connection"
"""Key in ``scope["state"]`` of the :class:`WatchedProtocol` that received a request."""

_MOST = 512
_LEAST = 8
_USUAL_DESCRIPTORS = 1024


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Attributes:
        open: connections at a time.
        busy: connections at a time whose request is being answered.
        head_seconds: longest time until the complete head of a request has arrived.
        write_seconds: longest time for which a client may not read what it is sent.
    """

    open: int
    busy: int
    head_seconds: float = 15.0
    write_seconds: float = 60.0


def connection_limits() -> ConnectionLimits:
    """Return limits for this process: a third of its file descriptors, as others need some, too."""
    try:
        import resource
    except ImportError:  # not on Windows
        descriptors = _USUAL_DESCRIPTORS
    else:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            descriptors = 3 * _MOST
    most = max(_LEAST, min(_MOST, descriptors // 3))
    return ConnectionLimits(open=most, busy=most * 3 // 4)


class WatchedProtocol(H11Protocol):
    """A connection of uvicorn that is closed when its client is too slow.

    It uses h11 in every installation, as httptools accepts and refuses other requests.

    Attributes:
        waiting: the server's connections that wait for a request, the longest waiting first.
        busy: the server's connections whose request is being answered.
    """

    limits: ClassVar[ConnectionLimits]
    waiting: ClassVar[dict[WatchedProtocol, None]]
    busy: ClassVar[set[WatchedProtocol]]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, STATE_KEY: self}, _loop)
        self._is_open = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_open = True
        self._wait()
        while self.waiting and len(self.waiting) + len(self.busy) > self.limits.open:
            next(iter(self.waiting))._abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        self._stop_waiting()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_stall_timer()
        self._stalled = self.loop.call_later(self.limits.write_seconds, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stall_timer()

    def begin_request(self) -> bool:
        """Count the connection as busy; return ``False`` if the limit of busy ones is reached."""
        if len(self.busy) >= self.limits.busy:
            return False
        self._stop_waiting()
        self.busy.add(self)
        return True

    def end_request(self) -> None:
        """Let the connection wait for its next request."""
        self.busy.discard(self)
        if self._is_open:
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self.waiting[self] = None
        self._deadline = self.loop.call_later(self.limits.head_seconds, self._close)

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_stall_timer(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _close(self) -> None:
        """Close after the rest of an answer has been sent."""
        self._stop_waiting()
        if self._is_open:
            self.transport.close()

    def _abort(self) -> None:
        self._stop_waiting()
        if self._is_open:
            self.transport.abort()


def watched_protocol(limits: ConnectionLimits) -> type[WatchedProtocol]:
    """Return a class for ``uvicorn.Config(http=...)`` of one server."""
    return type("Watched", (WatchedProtocol,), {"limits": limits, "waiting": {}, "busy": set()})
