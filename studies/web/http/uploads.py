"""Reading what is uploaded: no more bytes than allowed, and no longer than allowed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from studies.web.http.problems import Problem

__all__ = ["read_file", "read_form", "read_text"]

_T = TypeVar("_T")
_ENVELOPE_BYTES = 4_096
"""Boundaries and headers of a multipart body around one file."""
_READ_SECONDS = 60.0
_FIRST_SECONDS = 20.0
_LEAST_RATE = 1_000
"""Bytes a second, on average, after the first seconds: who sends less keeps others waiting."""


async def read_file(request: Request, field: str, most_bytes: int) -> bytes:
    """The one file of a multipart request.

    A declared length above the limit is refused before anything is read, an undeclared one as soon
    as it passes the limit.

    Raises:
        Problem: 400 no multipart body, or not exactly that file in it; 408 it takes too long; 413
            too large.
    """
    too_large = Problem(
        413, f"the file is larger than {most_bytes:,} bytes: LIME parameters need a few thousand"
    )
    form = await read_form(
        request, most_bytes + _ENVELOPE_BYTES, files=1, fields=4, seconds=_READ_SECONDS,
        what=f"with the file in its field '{field}'", too_large=too_large,
    )  # fmt: skip
    try:
        upload = form.get(field)
        if upload is None or isinstance(upload, str):
            raise Problem(400, f"the form has no file in its field '{field}'")
        data = await upload.read()
    finally:
        await form.close()
    if not data:
        raise Problem(400, f"the file in the field '{field}' is empty")
    if len(data) > most_bytes:
        raise too_large
    return data


async def read_form(
    request: Request,
    most_bytes: int,
    *,
    files: int,
    fields: int,
    seconds: float,
    what: str,
    too_large: Problem,
) -> FormData:
    """A multipart form; who asks for it closes it. Larger files are on disk, not in memory.

    Args:
        most_bytes: of the whole body. files, fields: as many as may be in it.
        what: belongs into the form, for who sends something else.

    Raises:
        Problem: 400 no multipart body, or more in it than allowed; 408 it takes longer than
            ``seconds``; ``too_large``.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        raise too_large
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(400, f"the body is no multipart form: send one, {what}")
    counted = Request(request.scope, _Counted(request, most_bytes, too_large))
    try:
        return await _in_time(counted.form(max_files=files, max_fields=fields), seconds)
    except HTTPException as error:  # Starlette's words for a form that is broken or has too much
        raise Problem(400, f"the form cannot be read: {error.detail}") from error
    except (UnicodeError, ValueError, LookupError) as error:
        # Its own charset is what a form is decoded with, and Python has odd ones.
        raise Problem(400, "the form cannot be read: its names are no text") from error


async def read_text(request: Request, most_bytes: int, *, too_large: Problem) -> str:
    """A short body.

    Raises:
        Problem: 400 it is no text; 408 it takes too long; ``too_large``.
    """
    counted = Request(request.scope, _Counted(request, most_bytes, too_large))
    try:
        return (await _in_time(counted.body(), _FIRST_SECONDS)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(400, "the body is no text") from error


class _Counted:
    """An ASGI ``receive`` that refuses a body which is too large or comes too slowly."""

    def __init__(self, request: Request, most_bytes: int, too_large: Problem) -> None:
        self._request, self._most_bytes, self._too_large = request, most_bytes, too_large
        self._received, self._start = 0, time.monotonic()

    async def __call__(self) -> Message:
        message = await self._request.receive()
        self._received += len(message.get("body", b""))
        if self._received > self._most_bytes:
            raise self._too_large
        seconds = time.monotonic() - self._start
        if seconds > _FIRST_SECONDS and self._received < _LEAST_RATE * seconds:
            raise _too_slow(seconds)
        return message


async def _in_time(body: Awaitable[_T], seconds: float) -> _T:
    try:
        return await asyncio.wait_for(body, seconds)
    except asyncio.TimeoutError as error:
        raise _too_slow(seconds) from error
    except ClientDisconnect as error:
        raise Problem(400, "the body ended before it was whole") from error


def _too_slow(seconds: float) -> Problem:
    return Problem(408, f"the body was not there after {seconds:.0f} s")
