"""Help texts: options under headings, and examples."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from tuner.options import OUTPUT, PANELS

__all__ = ["HelpCommand", "write_examples", "write_options"]

_OTHERS, _ARGUMENTS = "Options", "Arguments"
_MOST_FLAG = 30  # columns; after longer ones the text begins in the next line


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
                formatter.write_dl([(f"{flag:{width}}", text) for flag, text in panels[panel]])


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
