"""Errors of a web server as problem documents (RFC 9457): a status, a title, one line of detail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from explainers.messages import one_line

__all__ = [
    "PROBLEM_TYPE", "Problem", "add_problem_handlers", "problem_answer", "problem_responses",
]  # fmt: skip

PROBLEM_TYPE = "application/problem+json"
_LONGEST = 600
_SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["title", "status", "detail"],
}
_logger = logging.getLogger("lime_tuner.http")


class Problem(Exception):
    """An answer other than success.

    Attributes:
        detail: one line; made printable, as it may quote the request.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = one_line(detail, _LONGEST)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """Return the header ``Retry-After``, if there is one."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def problem_answer(problem: Problem, more: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response for a problem, whose title is the phrase of its status.

    Args:
        more: further headers.
    """
    return JSONResponse(
        {
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
        },
        status_code=problem.status,
        media_type=PROBLEM_TYPE,
        headers={**(more or {}), **problem.headers()},
    )


def _answer(_: Request, error: Exception) -> JSONResponse:
    """Convert any exception of an application to a problem."""
    if isinstance(error, Problem):
        return problem_answer(error)
    if isinstance(error, HTTPException):
        return problem_answer(Problem(error.status_code, str(error.detail)), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first.get("loc", ()))
        return problem_answer(Problem(422, f"{where}: {first.get('msg', 'is wrong')}"))
    if isinstance(error, ClientDisconnect):  # the client does not read it any more
        return problem_answer(Problem(400, "the body ended before it was whole"))
    if isinstance(error, OSError):
        # For example a full disk or no descriptor left, which is not the client's fault.
        _logger.error("the system refuses: %s", error)
        return problem_answer(Problem(503, "the server has no room for this now", retry_after=10))
    # Starlette logs the error; the client gets no details.
    return problem_answer(Problem(500, "the server has a defect: its log says which"))


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    for kind in (
        Problem, HTTPException, RequestValidationError, ClientDisconnect, OSError, Exception,
    ):  # fmt: skip
        app.add_exception_handler(kind, _answer)


def problem_responses(**why: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI ``responses`` by status: ``problem_responses(s401="no such token")``."""
    return {
        int(name.lstrip("s")): {"description": text, "content": {PROBLEM_TYPE: {"schema": _SCHEMA}}}
        for name, text in why.items()
    }
