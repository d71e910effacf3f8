"""The service's pages: static files of the package, and a description of the API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

__all__ = ["FRESH", "StaticParts", "docs_page", "main_page"]

FRESH = {"Cache-Control": "no-cache"}
"""Headers that make a browser check for a newer version each time."""
_HERE = Path(__file__).parent
_STATIC = _HERE / "static"


class StaticParts(StaticFiles):
    """Scripts, styles and pictures of the pages."""

    def __init__(self) -> None:
        super().__init__(directory=_STATIC)

    def file_response(self, *arguments: Any, **keywords: Any) -> Response:
        """Return a file with the headers ``FRESH``."""
        response = super().file_response(*arguments, **keywords)
        response.headers.update(FRESH)
        return response


def main_page() -> Response:
    """Return the page on which studies are requested and followed."""
    return FileResponse(_STATIC / "service.html", headers=FRESH)


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Render a readable description of the API."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("service_docs.html.j2").render(api=openapi)
