"""Reading what is uploaded: no more than is allowed, and not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from studies.http.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import Message

__all__ = ["read_file"]

_ENVELOPE_BYTES = 4_096
"""Boundaries and headers of a multipart body around one file."""
_READ_SECONDS = 60.0


async def read_file(request: Request, field: str, most_bytes: int) -> bytes:
    """The one file of a multipart request.

    A declared length above the limit is refused before anything is read, an undeclared one as soon
    as it passes the limit.

    Raises:
        Problem: 400 no multipart body, or not exactly that file in it; 408 it takes too long; 413
            too large.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most_bytes + _ENVELOPE_BYTES:
        raise _too_large(most_bytes)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(
            400, f"the body is no multipart form: send one, with the file in its field '{field}'"
        )
    try:
        form = await asyncio.wait_for(_form(request, most_bytes + _ENVELOPE_BYTES), _READ_SECONDS)
    except asyncio.TimeoutError as error:
        raise Problem(408, f"the body was not there after {_READ_SECONDS:.0f} s") from error
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
        raise _too_large(most_bytes)
    return data


async def _form(request: Request, most_bytes: int) -> FormData:
    from starlette.requests import Request as Counted

    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most_bytes:
            raise _too_large(most_bytes)
        return message

    return await Counted(request.scope, receive).form(max_files=1, max_fields=4)


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        413, f"the file is larger than {most_bytes:,} bytes: LIME parameters need a few thousand"
    )
