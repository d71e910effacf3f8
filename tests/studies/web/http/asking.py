"""Requests whose every byte is ours, given to an application without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI

__all__ = ["Answer", "Asked", "Headers", "ask"]

Headers = Sequence[tuple[bytes, bytes]]
Asked = tuple[str, bytes, Headers, bytes]
"""Method, path with its query, headers (names in lower case), body."""


@dataclass
class Answer:
    """What an application has sent."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    error: Exception | None = None


def ask(app: FastAPI, asked: Sequence[Asked]) -> list[Answer]:
    """Send requests, one after the other.

    Paths and queries are decoded as uvicorn decodes them. The application starts and ends.
    """

    async def all_of_them() -> list[Answer]:
        async with app.router.lifespan_context(app):
            return [await _one(app, *each) for each in asked]

    return asyncio.run(all_of_them())


async def _one(app: FastAPI, method: str, target: bytes, headers: Headers, body: bytes) -> Answer:
    raw, _, query = target.partition(b"?")
    hosts = [] if any(name == b"host" for name, _ in headers) else [(b"host", b"localhost")]
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "scheme": "http", "path": unquote(raw.decode("ascii")), "raw_path": raw,
        "query_string": query, "root_path": "", "headers": [*hosts, *headers], "state": {},
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    answer, parts = Answer(), [body]

    async def receive() -> dict[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = dict(message["headers"])
        else:
            answer.body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - told, with what was asked
        answer.error = error
    return answer
