"""Completion by the shell, without loading a command: most would import torch.

The options of all commands are read from ``tuner/data/completions.json``, which
``python -m tuner.cli.help.table`` writes from the commands themselves.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module, resources
from typing import Annotated, Any

import typer

__all__ = ["TABLE", "light_command"]

TABLE = "completions.json"
_COMPLETED = frozenset({"--study", "--studies", "--other", "--images", "--catalog"})
"""Options whose values come from :mod:`tuner.cli.help.values`, which is loaded only for them."""
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
        values = _values(flags[0], stored.get("choices", ()))
        declared = typer.Option(*flags, help=stored["help"], autocompletion=values)
    return inspect.Parameter(
        stored["name"], _KEYWORD, default=None, annotation=Annotated[kind | None, declared]
    )


def _values(flag: str, choices: Iterable[str]) -> Callable[[typer.Context, str], list[str]]:
    def of(ctx: typer.Context, incomplete: str) -> list[str]:
        if flag in _COMPLETED:
            found: list[str] = import_module("tuner.cli.help.values").values(
                flag, ctx.params, incomplete
            )
            return found
        return [each for each in choices if each.startswith(incomplete)]

    return of
