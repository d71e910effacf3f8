"""Completion by the shell, without loading a command: most would import torch.

The options of all commands are read from ``tuner/data/completions.json``, which
``python -m tuner.cli.help.table`` writes from the commands themselves.
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.catalog import SHIPPED_CATALOGUES, load_catalog
from studies.queries import study_names
from tuner.cli.options import SETTINGS_FILE, CatalogOption, StorageOptions, given_options

__all__ = ["TABLE", "light_command"]

TABLE = "completions.json"
_SECONDS = 2.0  # how long a shell waits for a database
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def light_command(name: str, summary: str) -> Any:
    """A command with the options of the one of this name, for completion only."""

    def nothing(**_: Any) -> None: ...

    parameters = [_parameter(stored) for stored in _table()[name]]
    nothing.__doc__ = summary
    nothing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    nothing.__annotations__ = {each.name: each.annotation for each in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(nothing)
    return typer.main.get_command(app)


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    text = resources.files("tuner").joinpath("data", TABLE).read_text("utf-8")
    tables: dict[str, list[dict[str, Any]]] = json.loads(text)
    return tables


def _parameter(stored: Mapping[str, Any]) -> inspect.Parameter:
    kind: Any = {"flag": bool, "list": list[str]}.get(stored["kind"], str)
    if stored["kind"] == "argument":
        declared = typer.Argument(help=stored["help"])
    else:
        flags = stored["flags"]
        values = _VALUES.get(flags[0]) or _choices(stored.get("choices", ()))
        declared = typer.Option(*flags, help=stored["help"], autocompletion=values)
    return inspect.Parameter(
        stored["name"], _KEYWORD, default=None, annotation=Annotated[kind | None, declared]
    )


def _choices(choices: Iterable[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [each for each in choices if each.startswith(incomplete)]


def _in_time(values: Callable[[], list[str]]) -> list[str]:
    """The values; none where they cannot be read, or not in time."""
    logging.disable()  # a warning would be written into what is being typed
    found: list[str] = []

    def read() -> None:
        with suppress(Exception):
            found.extend(values())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    logging.disable(logging.NOTSET)
    return list(found)


def _studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Prefixes of the studies' names; whole names after a slash."""

    def read() -> list[str]:
        given = {"storage": ctx.params.get("storage")}
        names = study_names(given_options(StorageOptions, given).storage)
        if "/" in incomplete:
            return names
        return list(dict.fromkeys(name.partition("/")[0] for name in names))

    return [name for name in _in_time(read) if name.startswith(incomplete)]


def _images(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys of the catalogue, after those that are there and a comma."""
    before, comma, last = incomplete.rpartition(",")
    there = before.split(",")

    def read() -> list[str]:
        given = {"catalog": ctx.params.get("catalog")}
        keys = load_catalog(given_options(CatalogOption, given).catalog).keys
        return [key for key in keys if key not in there]

    return [f"{before}{comma}{key}" for key in _in_time(read) if key.startswith(last)]


def _catalogues(incomplete: str) -> list[str]:
    """Shipped catalogues, TOML files and folders."""

    def read() -> list[str]:
        folder = incomplete.rpartition("/")[0]
        start = f"{folder}/" if "/" in incomplete else ""
        entries = sorted(Path(start or ".").expanduser().iterdir())
        return [
            f"{start}{entry.name}{'/' * entry.is_dir()}"
            for entry in entries
            if not entry.name.startswith(".")
            and (entry.is_dir() or (entry.suffix == ".toml" and entry.name != SETTINGS_FILE))
        ]

    found = [*SHIPPED_CATALOGUES, *_in_time(read)]
    return [each for each in found if each.startswith(incomplete)]


_VALUES: Mapping[str, Callable[..., list[str]]] = {
    "--study": _studies,
    "--studies": _studies,
    "--other": _studies,
    "--images": _images,
    "--catalog": _catalogues,
}
