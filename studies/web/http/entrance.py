"""The first middleware of each of our servers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from studies.web.http.connections import STATE_KEY, WatchedProtocol
from studies.web.http.problems import Problem, problem_answer

__all__ = ["Entrance", "host_name"]

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{0,5}))?")
_BAD_HOST = Problem(400, "the header Host is no host: send NAME or NAME:PORT")
_BUSY = Problem(503, "too many requests are being answered: come back later", retry_after=5)


def host_name(header: str) -> str | None:
    """The name or address in a ``Host`` header, without its port; ``None`` if it is not one."""
    found = _HOST.fullmatch(header)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    name = found["name"]
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            return None
    return name


@dataclass(frozen=True)
class Entrance:
    """Middleware that refuses malformed ``Host`` headers, and requests above the busy limit."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or any(host and host_name(host) is None for host in hosts):
            await problem_answer(_BAD_HOST)(scope, receive, send)
            return
        connection: WatchedProtocol | None = scope.get("state", {}).get(STATE_KEY)
        if connection is None:  # not served by run_server, e.g. in a test client
            await self.app(scope, receive, send)
        elif connection.begin_request():
            try:
                await self.app(scope, receive, send)
            finally:
                connection.end_request()
        else:
            await problem_answer(_BUSY, {"Connection": "close"})(scope, receive, send)
