"""Asking a dashboard without a server."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from wsgiref.util import setup_testing_defaults

__all__ = ["ask", "asked"]


def ask(
    app: Any, path: str, method: str = "GET", document: Any = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body, without a socket."""
    sent = b"" if document is None else json.dumps(document).encode()
    environ: dict[str, Any] = {
        "PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": io.BytesIO(sent),
        "CONTENT_LENGTH": str(len(sent)), "CONTENT_TYPE": "application/json",
    }  # fmt: skip
    setup_testing_defaults(environ)
    response: list[Any] = []
    body = app(environ, lambda status, headers, *_: response.extend((status, dict(headers))))
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return int(response[0].split()[0]), response[1], content


def asked(app: Any, path: str) -> Any:
    """The JSON document that is there."""
    status, _, body = ask(app, path)
    assert status == 200, body
    return json.loads(body)
