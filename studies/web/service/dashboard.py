"""optuna-dashboard under ``/dashboard/``, for reading only.

Its own requests go to ``/api/...``, which is the service's: a script that runs before its own adds
the prefix. Studies, notes and artifacts belong to all users of the service, so only reading
requests pass; ``lime-tuner dashboard`` is for the owner of the studies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from studies.web.http import Problem, WsgiAnswer, ask_wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["DASHBOARD_PATHS", "DashboardDoor"]

DASHBOARD_PATHS = ("/dashboard", "/static", "/artifacts", "/csv")
"""Prefixes of the dashboard's paths."""

_PREFIX = "/dashboard"
_BUNDLE = b'<script defer src="/static/bundle.js">'
_SHIM = b'<script src="/assets/service_dashboard.js"></script>'
_PASSED = ("accept-encoding", "if-none-match", "if-modified-since")
_DROPPED = ("content-length", "access-control-allow-origin", "connection")
# Every pair but the first begins with an &, so that the match is unique and fast.
_PAIR = rb"[A-Za-z_]+=[A-Za-z0-9_.,-]{0,5000}"
_PLAIN_QUERY = re.compile(rb"(?:%b(?:&%b)*&?)?" % (_PAIR, _PAIR))
_LONG_NUMBER = re.compile(r"[0-9]{19}")
_PICTURES_ONLY = "default-src 'none'; sandbox"


class DashboardDoor:
    """Answers requests to the dashboard.

    Args:
        make: creates the dashboard over the current database.
        probe: raises if the database does not answer.
    """

    def __init__(self, make: Callable[[], WSGIApplication], probe: Callable[[], object]) -> None:
        self._make, self._probe = make, probe
        self._app: WSGIApplication | None = make()

    def renew(self) -> None:
        """Create the dashboard again at the next request, as another database is in place."""
        self._app = None

    async def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            Problem: 405 for a method other than GET and HEAD; 404 without an answer.
        """
        if request.method not in ("GET", "HEAD"):
            raise Problem(
                405, "the dashboard of a service is for reading: lime-tuner dashboard is for the "
                "owner of its studies",
            )  # fmt: skip
        path = request.url.path if request.scope.get("path") is None else request.scope["path"]
        if path.startswith(f"{_PREFIX}/api/"):
            path = path.removeprefix(_PREFIX)
        if not (path.isprintable() and _PLAIN_QUERY.fullmatch(request.scope["query_string"])):
            raise Problem(404, "the dashboard has no such page")
        if _LONG_NUMBER.search(path):
            raise Problem(404, "no study has so large a number")
        headers = [(name, value) for name, value in request.headers.items() if name in _PASSED]
        status, found, body = await run_in_threadpool(
            self._ask, path, request.scope["query_string"].decode("ascii"), headers
        )
        if status >= 500:  # an unexpected request, or the database is away
            await run_in_threadpool(self._probe)
            raise Problem(404, "the dashboard has no answer to this")
        if path.startswith(_PREFIX):
            body = body.replace(_BUNDLE, _SHIM + _BUNDLE)
        answer = Response(body, status)
        for name, value in found:
            if name.lower() not in _DROPPED:
                answer.headers[name] = value
        if path.startswith("/artifacts/"):
            answer.headers["content-security-policy"] = _PICTURES_ONLY
        return answer

    def _ask(self, path: str, query: str, headers: list[tuple[str, str]]) -> WsgiAnswer:
        app = self._app
        if app is None:
            app = self._app = self._make()
        return ask_wsgi(app, path, query, headers)
