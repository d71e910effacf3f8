"""Reading what is uploaded: no more than is allowed, and not for ever."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from studies.web.http.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import Message

__all__ = ["read_file", "read_form", "read_text"]

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
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes:
        raise too_large
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(400, f"the body is no multipart form: send one, {what}")
    try:
        return await asyncio.wait_for(
            _form(request, most_bytes, files, fields, too_large), seconds
        )
    except asyncio.TimeoutError as error:
        raise _too_slow(seconds) from error
    except HTTPException as error:  # Starlette's words for a form that is broken or has too much
        raise Problem(400, f"the form cannot be read: {error.detail}") from error
    except ClientDisconnect as error:
        raise _broken_off() from error
    except (UnicodeError, ValueError, LookupError) as error:
        # Its own charset is what a form is decoded with, and Python has odd ones.
        raise Problem(400, "the form cannot be read: its names are no text") from error


async def read_text(request: Request, most_bytes: int, *, too_large: Problem) -> str:
    """A short body.

    Raises:
        Problem: 400 it is no text; 408 it takes too long; ``too_large``.
    """
    from starlette.requests import ClientDisconnect

    async def read() -> bytes:
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > most_bytes:
                raise too_large
        return data

    try:
        return (await asyncio.wait_for(read(), _FIRST_SECONDS)).decode("utf-8")
    except asyncio.TimeoutError as error:
        raise _too_slow(_FIRST_SECONDS) from error
    except ClientDisconnect as error:
        raise _broken_off() from error
    except UnicodeDecodeError as error:
        raise Problem(400, "the body is no text") from error


async def _form(
    request: Request, most_bytes: int, files: int, fields: int, too_large: Problem
) -> FormData:
    from starlette.requests import Request as Counted

    received, start = 0, time.monotonic()

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most_bytes:
            raise too_large
        seconds = time.monotonic() - start
        if seconds > _FIRST_SECONDS and received < _LEAST_RATE * seconds:
            raise _too_slow(seconds)
        return message

    return await Counted(request.scope, receive).form(max_files=files, max_fields=fields)


def _too_slow(seconds: float) -> Problem:
    return Problem(408, f"the body was not there after {seconds:.0f} s")


def _broken_off() -> Problem:
    return Problem(400, "the body ended before it was whole")
