"""The service's pages: static files that ship with the package, and the API in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

__all__ = ["FRESH", "StaticParts", "docs_page", "main_page"]

FRESH = {"Cache-Control": "no-cache"}
"""Headers of what a browser must ask for again, because it may have changed."""
_HERE = Path(__file__).parent
_STATIC = _HERE / "static"


class StaticParts(StaticFiles):
    """Scripts, styles and pictures of the pages."""

    def __init__(self) -> None:
        super().__init__(directory=_STATIC)

    def file_response(self, *arguments: Any, **keywords: Any) -> Response:
        """A file, which a browser asks for again each time."""
        response = super().file_response(*arguments, **keywords)
        response.headers.update(FRESH)
        return response


def main_page() -> Response:
    """The page that asks for studies and follows them."""
    return FileResponse(_STATIC / "service.html", headers=FRESH)


def docs_page(openapi: Mapping[str, Any]) -> str:
    """A description of the API for people."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("service_docs.html.j2").render(api=openapi)
