"""Check that a request has the server's token or comes from this machine, and from no other origin.

Without a token, the ``Host`` header must name this machine, so that a foreign page cannot reach
the server under its own name (DNS rebinding). With a token, a request must have it as bearer, or
the cookie that the server set for it. Requests that change something must not come from pages of
another origin.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studies.web.http.entrance import host_name
from studies.web.http.problems import Problem, problem_answer

__all__ = ["SESSION_COOKIE", "Guard", "is_loopback", "is_token", "may_enter", "session_value"]

SESSION_COOKIE = "lime_tuner_session"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_SESSION = b"lime-tuner session"
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'; img-src 'self' blob: data:",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether a host's name or address always means this machine."""
    name = host.strip("[]").partition("%")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_token(given: str, token: str) -> bool:
    """Compare a given token with the server's in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def session_value(token: str) -> str:
    """Return the cookie's value for a token; it is the same after a restart."""
    return hmac.new(token.encode(), _SESSION, hashlib.sha256).hexdigest()


def may_enter(request: HTTPConnection, token: str | None) -> bool:
    """Whether a request has the token as bearer or its cookie, or no token is needed."""
    if token is None:
        return True
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and is_token(given.strip(), token):
        return True
    return is_token(request.cookies.get(SESSION_COOKIE, ""), session_value(token))


@dataclass(frozen=True)
class Guard:
    """Middleware that refuses unauthorised requests, and adds security headers for browsers.

    Attributes:
        token: ``None`` for a server that listens on this machine only.
        public: paths that need no token; those that end with ``/`` are prefixes, except ``/``.
    """

    app: ASGIApp
    token: str | None
    public: Sequence[str] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope["method"], scope["path"], HTTPConnection(scope))
        except Problem as problem:
            more = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
            await problem_answer(problem, more)(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def _check(self, method: str, path: str, request: HTTPConnection) -> None:
        """Check one request.

        Raises:
            Problem: 401 the token is missing or wrong; 403 it comes from another origin.
        """
        headers = request.headers
        host = headers.get("host", "")
        if self.token is None and not is_loopback(host_name(host) or ""):
            raise Problem(
                403, "this server answers on this machine only: ask for 127.0.0.1 or localhost"
            )
        if method not in _SAFE_METHODS:
            _, separator, origin = headers.get("origin", f"://{host}").lower().partition("://")
            # The origin "null" has no host, and counts as another origin.
            if not separator or origin != host.lower():
                raise Problem(403, "a page of another origin may not change anything here")
            if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                raise Problem(403, "a page of another site may not change anything here")
        if not self._is_public(path) and not may_enter(request, self.token):
            raise Problem(
                401, "the token is missing or wrong: send the header 'Authorization: Bearer TOKEN'"
            )

    def _is_public(self, path: str) -> bool:
        return any(
            path == each or (each.endswith("/") and each != "/" and path.startswith(each))
            for each in self.public
        )
