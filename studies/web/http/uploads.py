"""Read uploads within limits of bytes and seconds."""

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
"""Allowance for the boundaries and headers of a multipart body around one file."""
_READ_SECONDS = 60.0
_FIRST_SECONDS = 20.0
_LEAST_RATE = 1_000
"""Bytes a second, on average after ``_FIRST_SECONDS``; slower clients would block others."""


async def read_file(request: Request, field: str, most_bytes: int) -> bytes:
    """Read the only file of a multipart request.

    A declared length above the limit is refused before the body is read, an undeclared one as soon
    as the limit is exceeded.

    Raises:
        Problem: 400 not a multipart body, or one without that file; 408 it takes too long; 413 it
            is too large.
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
    """Read a multipart form, which the caller closes. Larger files are on disk, not in memory.

    Args:
        most_bytes: largest size of the whole body.
        files, fields: largest numbers of files and of other fields.
        seconds: longest time.
        what: expected content of the form, for the message about another body.
        too_large: raised for a larger body.

    Raises:
        Problem: 400 not a multipart body, or one with too many parts; 408 it takes too long;
            ``too_large``.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        raise too_large
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(400, f"the body is no multipart form: send one, {what}")
    counted = Request(request.scope, _Counted(request, most_bytes, too_large))
    try:
        return await _in_time(counted.form(max_files=files, max_fields=fields), seconds)
    except HTTPException as error:  # Starlette raises it for broken forms and too many parts
        raise Problem(400, f"the form cannot be read: {error.detail}") from error
    except (UnicodeError, ValueError, LookupError) as error:
        # The form itself names the encoding that it is decoded with, which may be any of Python's.
        raise Problem(400, "the form cannot be read: its names are no text") from error


async def read_text(request: Request, most_bytes: int, *, too_large: Problem) -> str:
    """Read a short body of text.

    Raises:
        Problem: 400 it is not UTF-8; 408 it takes too long; ``too_large``.
    """
    counted = Request(request.scope, _Counted(request, most_bytes, too_large))
    try:
        return (await _in_time(counted.body(), _FIRST_SECONDS)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(400, "the body is no text") from error


class _Counted:
    """An ASGI ``receive`` that refuses a body which is too large or arrives too slowly."""

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
