"""Text that comes from elsewhere, made safe to show."""

from __future__ import annotations

__all__ = ["error_line", "escaped", "one_line"]


def one_line(text: str, limit: int = 120) -> str:
    """The text in one line of at most ``limit`` characters.

    Whatever a terminal could take for a command, what turns the direction of writing, and what no
    encoding has (half a surrogate pair) becomes a space.
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def escaped(text: str) -> str:
    r"""The text with its line breaks; anything else that is not printable as ``\x1b``, ``\u202e``.

    For logs: a traceback stays readable, and what was sent can be told.
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


def error_line(error: BaseException) -> str:
    """Type and text of somebody else's exception, in one line of at most 200 characters."""
    kind, text = type(error).__name__, str(error)
    return one_line(f"{kind}: {text}" if text.strip() else kind, 200)
