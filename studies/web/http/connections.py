"""How many connections a server keeps, and for how long those that ask for nothing.

uvicorn has no deadline for the head of a request (https://github.com/Kludex/uvicorn/issues/157),
and none for a client that does not read. Here a connection *waits* until the head of a request is
there, and again after its answer; otherwise it is *busy*. Who waits too long is closed, and the
one that has waited longest makes room for a new one. Busy ones are fewer than may be open: there
is always one to close.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

__all__ = ["STATE_KEY", "Connection", "ConnectionLimits", "connection_limits", "watched_protocol"]

STATE_KEY = "lime_tuner_connection"
"""In ``scope["state"]``: the connection that a request came by."""

_MOST = 512
_LEAST = 8
_USUAL_DESCRIPTORS = 1024


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may take of a server.

    Attributes:
        open: connections at a time. busy: those with a request that is being answered.
        head_seconds: until the head of a request is there, whole.
        write_seconds: for which a client may read nothing of what it is sent.
    """

    open: int
    busy: int
    head_seconds: float = 15.0
    write_seconds: float = 60.0


def connection_limits() -> ConnectionLimits:
    """For this process: a third of its file descriptors; databases and uploads need some, too."""
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


class _All:
    """The connections of one server; they belong to its event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.waiting: dict[Connection, None] = {}  # who has waited longest comes first
        self.busy: set[Connection] = set()

    def make_room(self) -> None:
        while self.waiting and len(self.waiting) + len(self.busy) > self.limits.open:
            next(iter(self.waiting)).abort()


class Connection:
    """One of them."""

    def __init__(self, everybody: _All, loop: asyncio.AbstractEventLoop) -> None:
        self._all, self._loop = everybody, loop
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def opened(self, transport: asyncio.Transport) -> None:
        """It is there."""
        self._transport = transport
        self._wait()
        self._all.make_room()

    def begin(self) -> bool:
        """A request has come; whether it may be answered now."""
        if len(self._all.busy) >= self._all.limits.busy:
            return False
        self._forget()
        self._all.busy.add(self)
        return True

    def end(self) -> None:
        """The request is answered."""
        self._all.busy.discard(self)
        if self._transport is not None:
            self._wait()

    def stalled(self) -> None:
        """What is sent is not read."""
        self.flowing()
        self._stalled = self._loop.call_later(self._all.limits.write_seconds, self.abort)

    def flowing(self) -> None:
        """It is read again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def abort(self) -> None:
        """Close it at once."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def lost(self) -> None:
        """It is gone."""
        self._transport = None
        self._forget()
        self.flowing()

    def _wait(self) -> None:
        self._forget()
        self._all.waiting[self] = None
        self._deadline = self._loop.call_later(self._all.limits.head_seconds, self._late)

    def _late(self) -> None:
        self._forget()
        if self._transport is not None:
            self._transport.close()  # after the rest of an answer that is being read

    def _forget(self) -> None:
        self._all.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def watched_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """For ``uvicorn.Config(http=...)``: its HTTP protocol, which tells when something happens."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    everybody = _All(limits)

    class Watched(H11Protocol):
        """h11 in every installation: httptools takes and refuses other requests."""

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            self._watched = Connection(everybody, _loop or asyncio.get_running_loop())
            state = {**app_state, STATE_KEY: self._watched}
            super().__init__(config, server_state, state, _loop)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watched.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._watched.lost()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watched.stalled()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._watched.flowing()

    return Watched
