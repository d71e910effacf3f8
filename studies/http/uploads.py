"""Reading what is uploaded: no more than is allowed, and not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from studies.http.problems import Problem

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import Message

__all__ = ["read_file", "read_form"]

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
        raise Problem(408, f"the body was not there after {seconds:.0f} s") from error
    except HTTPException as error:  # Starlette's words for a form that is broken or has too much
        raise Problem(400, f"the form cannot be read: {error.detail}") from error


async def _form(
    request: Request, most_bytes: int, files: int, fields: int, too_large: Problem
) -> FormData:
    from starlette.requests import Request as Counted

    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most_bytes:
            raise too_large
        return message

    return await Counted(request.scope, receive).form(max_files=files, max_fields=fields)
