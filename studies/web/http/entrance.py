"""The first that a request meets in each of our servers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.web.http.connections import STATE_KEY, Connection
from studies.web.http.problems import Problem, problem_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Entrance", "host_name"]

_RETRY_SECONDS = 5
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{0,5}))?")


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
    """Middleware: a ``Host`` that is none is refused, and so is who finds everybody busy."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) > 1 or any(host and host_name(host) is None for host in hosts):
            problem = Problem(400, "the header Host is no host: send NAME or NAME:PORT")
            await problem_answer(problem)(scope, receive, send)
            return
        connection: Connection | None = scope.get("state", {}).get(STATE_KEY)
        if connection is None:  # no socket of ours
            await self.app(scope, receive, send)
            return
        if not connection.begin():
            problem = Problem(
                503, "too many requests are being answered: come back later",
                retry_after=_RETRY_SECONDS,
            )  # fmt: skip
            await problem_answer(problem, {"Connection": "close"})(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            connection.end()
