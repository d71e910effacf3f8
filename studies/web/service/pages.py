"""The service's pages: static files that ship with the package, and the API in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["ASSETS", "asset", "docs_page"]

ASSETS: Mapping[str, str] = {
    "service.html": "text/html; charset=utf-8",
    "service.css": "text/css; charset=utf-8",
    "service.js": "text/javascript; charset=utf-8",
    "service_away.js": "text/javascript; charset=utf-8",
    "service_dashboard.js": "text/javascript; charset=utf-8",
    "service_icon.svg": "image/svg+xml",
}
"""The page's parts, and what they are."""


@cache
def asset(name: str) -> str:
    """The text of one of :data:`ASSETS`."""
    return resources.files("studies.web.service").joinpath(f"static/{name}").read_text("utf-8")


def docs_page(openapi: Mapping[str, Any]) -> str:
    """A description of the API for people."""
    import jinja2

    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("description", "").replace("``", ""),
            "parameters": [
                (each["name"], each.get("description", ""), each["in"])
                for each in operation.get("parameters", [])
            ],
            "fields": _fields(operation),
            "answers": [
                (status, answer.get("description", ""))
                for status, answer in operation.get("responses", {}).items()
            ],
        }
        for path, found in openapi.get("paths", {}).items()
        for method, operation in found.items()
    ]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("studies.web.service") / "service_docs.html.j2"
    return environment.from_string(source.read_text("utf-8")).render(
        title=openapi["info"]["title"],
        lead=openapi["info"].get("description", ""),
        operations=operations,
    )


def _fields(operation: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, description and whether it must be there, of a body's fields."""
    content = operation.get("requestBody", {}).get("content", {})
    return [
        (name, schema.get("description", ""), name in each["schema"].get("required", ()))
        for each in content.values()
        for name, schema in each["schema"].get("properties", {}).items()
    ]
