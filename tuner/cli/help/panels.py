"""Help texts: options under headings, and examples."""

from __future__ import annotations

import textwrap
from typing import Any

from typer.core import TyperCommand

from tuner.options import OUTPUT, PANELS

__all__ = ["HelpCommand", "write_examples", "write_options"]

_OTHERS, _ARGUMENTS = "Options", "Arguments"
_MOST_FLAG = 26  # columns; after longer ones the text begins in the next line


class HelpCommand(TyperCommand):
    """A command whose help has its options under headings, and examples at the end.

    Attributes:
        examples: whole command lines.
    """

    examples: tuple[str, ...] = ()

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options by heading."""
        write_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        write_examples(self.examples, formatter)


def write_options(parameters: list[Any], ctx: Any, formatter: Any) -> None:
    """Write arguments and options under their headings; an option's is its ``rich_help_panel``."""
    panels: dict[str, list[tuple[str, str]]] = {}
    last = OUTPUT if OUTPUT in map(_panel, parameters) else _OTHERS
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            panel = last if parameter.name == "help" else _panel(parameter)
            panels.setdefault(panel, []).append(record)
    flags = [flag for records in panels.values() for flag, _ in records]
    width = max(len(flag) for flag in flags if len(flag) <= _MOST_FLAG)
    for panel in (_ARGUMENTS, *PANELS, _OTHERS):
        if panel in panels:
            with formatter.section(panel):
                for flag, text in panels[panel]:
                    _write(flag, text, width, formatter)


def _write(flag: str, text: str, width: int, formatter: Any) -> None:
    """Write an option and its text beside it; no word of it is broken, as click's are at hyphens.

    Args:
        width: columns for the flags of all options.
    """
    indent = " " * formatter.current_indent
    beside = indent + " " * (width + 2)
    start = f"{indent}{flag:{width}}  "
    if len(flag) > width:
        formatter.write(f"{indent}{flag}\n")
        start = beside
    formatter.write(
        textwrap.fill(
            text, formatter.width, initial_indent=start, subsequent_indent=beside,
            break_on_hyphens=False, break_long_words=False,
        )
        + "\n"
    )  # fmt: skip


def write_examples(examples: tuple[str, ...], formatter: Any) -> None:
    """Write command lines as they are to be typed."""
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _panel(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or _OTHERS
