"""Text that comes from elsewhere, made safe to show."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str, limit: int = 120) -> str:
    """The text in one line of at most ``limit`` characters.

    Whatever a terminal could take for a command, and what turns the direction of writing, becomes
    a space.
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
