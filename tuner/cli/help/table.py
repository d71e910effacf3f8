"""Writes ``tuner/data/completions.json``: ``python -m tuner.cli.help.table``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tuner
from tuner.cli.commands import COMMANDS, loaded_command
from tuner.cli.help.completion import TABLE
from tuner.cli.options import known_settings

__all__ = ["FILE", "completion_table"]

FILE = Path(tuner.__file__).parent / "data" / TABLE


def completion_table() -> str:
    """The options of all commands, one a line, as JSON."""
    choices = {
        f"--{name.replace('_', '-')}": declared.option.choices
        for name, declared in known_settings().items()
        if declared.option.choices
    }
    commands = []
    for name in COMMANDS:
        rows = [_row(parameter, choices) for parameter in loaded_command(name).params]
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        commands.append(f' "{name}": [\n{lines}\n ]')
    return "{\n" + ",\n".join(commands) + "\n}\n"


def _row(parameter: Any, choices: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    row = {"name": parameter.name, "help": parameter.help}
    if parameter.param_type_name == "argument":
        return {**row, "kind": "argument"}
    flags = list(parameter.opts)
    if parameter.secondary_opts:
        flags = [f"{flags[0]}/{parameter.secondary_opts[0]}"]
    kind = "flag" if parameter.is_flag else "list" if parameter.multiple else "value"
    allowed = choices.get(flags[-1], ())
    return {**row, "kind": kind, "flags": flags, **({"choices": list(allowed)} if allowed else {})}


if __name__ == "__main__":
    FILE.write_text(completion_table(), "utf-8")
