"""Errors of a web server as problem documents (RFC 9457): a status, a title, one line of detail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from explainers.foreign_text import one_line

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import JSONResponse

__all__ = [
    "PROBLEM_TYPE", "Problem", "add_problem_handlers", "problem_answer", "problem_responses",
]  # fmt: skip

PROBLEM_TYPE = "application/problem+json"
_LONGEST = 600
_logger = logging.getLogger("lime_tuner.http")


class Problem(Exception):
    """An answer other than success.

    Attributes:
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = one_line(detail, _LONGEST)  # whatever was sent may be quoted in it
        self.retry_after = retry_after

    def document(self) -> dict[str, Any]:
        """The body; ``type`` is left out, which means that the title says what the status says."""
        return {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def headers(self) -> dict[str, str]:
        """``Retry-After`` where there is one."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def problem_answer(problem: Problem, more: Mapping[str, str] | None = None) -> JSONResponse:
    """The response that tells a problem.

    Args:
        more: further headers.
    """
    from starlette.responses import JSONResponse

    return JSONResponse(
        problem.document(),
        status_code=problem.status,
        media_type=PROBLEM_TYPE,
        headers={**(more or {}), **problem.headers()},
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Let every error of an application be answered as a problem document."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request

    answer = problem_answer

    def told(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return answer(error)

    def of_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(Problem(error.status_code, str(error.detail)), error.headers)

    def of_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first.get("loc", ()))
        return answer(Problem(422, f"{where}: {first.get('msg', 'is wrong')}"))

    def of_system(_: Request, error: Exception) -> JSONResponse:
        # A full disk, or no descriptor left: not what was asked for is wrong.
        _logger.error("the system refuses: %s", error)
        return answer(Problem(503, "the server has no room for this now", retry_after=10))

    def of_disconnect(_: Request, error: Exception) -> JSONResponse:
        del error  # nobody is there to read it
        return answer(Problem(400, "the body ended before it was whole"))

    def of_defect(_: Request, error: Exception) -> JSONResponse:
        # Starlette hands the error on to the log, and nobody outside is told more.
        del error
        return answer(Problem(500, "the server has a defect: its log says which"))

    app.add_exception_handler(Problem, told)
    app.add_exception_handler(OSError, of_system)
    app.add_exception_handler(ClientDisconnect, of_disconnect)
    app.add_exception_handler(Exception, of_defect)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)


def problem_responses(**why: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` of some statuses: ``problem_responses(s401="no such token")``."""
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
        "required": ["title", "status", "detail"],
    }
    return {
        int(name.lstrip("s")): {
            "description": text,
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        for name, text in why.items()
    }
