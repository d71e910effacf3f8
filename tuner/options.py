"""Settings are declared once, as annotated fields of a frozen dataclass.

::

    @dataclass(frozen=True, kw_only=True)
    class Speed:
        threads: Annotated[int, Option("Threads of a worker.", least=1)] = 1

The declaration gives the command line the option ``--threads`` with its help, ``lime-tuner.toml``
the name ``threads`` and the environment ``LIME_TUNER_THREADS`` (all in :mod:`tuner.cli.options`).
The dataclass checks its values with :func:`check_options`.
"""

from __future__ import annotations

import math
import types
import typing
import unicodedata
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.messages import one_line

__all__ = [
    "BUDGET", "LABELS", "LIMITS", "MACHINE", "OUTPUT", "PANELS", "SEARCH", "SERVER", "WHAT",
    "Declared", "Option", "check_options", "options_of",
]  # fmt: skip

WHAT = "What to work on"
LABELS = "Labels"
SEARCH = "Search"
SERVER = "Server"
BUDGET = "Budget"
LIMITS = "Limits"
MACHINE = "Machine"
OUTPUT = "Output"
PANELS = (WHAT, LABELS, SEARCH, SERVER, BUDGET, LIMITS, MACHINE, OUTPUT)
"""The headings of a command's help under which its options stand, in this order."""

_MOST_DIGITS = 20  # longer numbers are not quoted in messages


@dataclass(frozen=True)
class Option:
    """What a setting accepts, beside its type.

    Attributes:
        help: text for the command line; the default is appended to it.
        default_help: describes the default where the field's own default does not.
        least, above, most: bounds of a number; ``above`` itself is excluded.
        choices: the texts that are allowed; empty for any.
        parse: makes the value from a text, for types that TOML and the environment lack; raises
            :class:`InvalidInput`.
        names: flags on the command line, where they are not ``--field-name``.
        secret: the value may hold a password and is never shown.
        panel: the heading of a command's help under which it stands.
    """

    help: str
    default_help: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    names: tuple[str, ...] = ()
    secret: bool = False
    panel: str = WHAT


@dataclass(frozen=True)
class Declared:
    """A field with an :class:`Option`.

    Attributes:
        kind: ``int``, ``float``, ``bool``, ``str``, ``Path`` or ``tuple`` (of texts).
        optional: whether ``None`` is allowed.
        default: the field's default; ``None`` where a factory makes it.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    option: Option

    @property
    def accepts(self) -> str:
        """What may be given, in words, for error messages."""
        option = self.option
        if option.choices:
            return " or ".join((", ".join(option.choices[:-1]), option.choices[-1])).removeprefix(
                " or "
            )
        if self.kind in (int, float):
            number = "a whole number" if self.kind is int else "a number"
            low = "" if option.above is None else f" above {option.above:g}"
            if option.least is not None:
                high = "up" if option.most is None else f"to {option.most:.10g}"
                low = f" from {option.least:g} {high}"
            return number + low
        if self.kind is bool:
            return "true or false"
        return "a file" if self.kind is Path else "text in one line"

    def check(self, value: Any, where: str, *, unquoted: bool = False) -> Any:
        """The value as the setting's type.

        Args:
            value: of the setting's kind, or a text for a setting with ``parse``.
            where: the source of the value, for the error message.
            unquoted: let the error message say whether quotes are needed, as in a TOML file.

        Raises:
            InvalidInput: the value is not accepted; says what was given, and what is accepted.
        """
        if value is None and self.optional:
            return None
        if self._fits(value):
            if isinstance(value, str) and self.option.parse is not None:
                return self.option.parse(value)
            if self.kind is Path:
                return Path(value)
            return tuple(value) if self.kind is tuple else value
        quotes = ""
        if unquoted and self.kind is not tuple:
            quotes = ", in quotes" if self.kind in (str, Path) else ", without quotes"
        raise InvalidInput(f"{where} is {self._shown(value)}: give {self.accepts}{quotes}")

    def _fits(self, value: Any) -> bool:
        option = self.option
        if self.kind in (int, float):
            numbers = (int,) if self.kind is int else (int, float)
            return (
                type(value) in numbers  # to Python, true is a number
                and math.isfinite(value)
                and (option.least is None or value >= option.least)
                and (option.above is None or value > option.above)
                and (option.most is None or value <= option.most)
            )
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is tuple:
            return isinstance(value, (list, tuple)) and all(map(_is_line, value))
        if option.parse is not None and not isinstance(value, str):
            return True
        return _is_line(str(value) if isinstance(value, Path) else value) and (
            not option.choices or value in option.choices
        )

    def _shown(self, value: Any) -> str:
        kind = {bool: "true or false", list: "a list", dict: "a table", str: "text"}.get(
            type(value)
        )
        if self.option.secret and isinstance(value, str):
            return "text that is empty, or not in one line"
        if self.option.secret or isinstance(value, (list, dict)):
            return kind or f"of type {type(value).__name__}"
        if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
            return f"a number of more than {_MOST_DIGITS} digits"
        if isinstance(value, str) and not value.strip():
            return "empty"
        expected_text = self.kind in (str, Path)
        quoted = f"{value!r}" if expected_text else f"{value!r}, text"
        return one_line(quoted if isinstance(value, str) else str(value).lower())

    def from_text(self, text: str, where: str) -> Any:
        """Read and check a value from the environment.

        Raises:
            InvalidInput: the text is not of this kind.
        """
        value: Any = text
        if self.kind is bool:
            value = {"true": True, "false": False}.get(text.lower(), text)
        elif self.kind in (int, float):
            for number in (int, float):
                try:
                    value = number(text)
                    break
                except ValueError:
                    continue
        elif self.kind is tuple:
            value = [text]
        return self.check(value, where)


def _is_line(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.strip() != ""
        and not any(unicodedata.category(character) == "Cc" for character in value)
    )


def options_of(group: type) -> tuple[Declared, ...]:
    """The declared options of a dataclass, in the order of its fields."""
    hints = typing.get_type_hints(group, include_extras=True)
    found = []
    for field in fields(group):
        hint = hints[field.name]
        option = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Option)), None)
        if option is not None:
            found.append(_declared(field, hint.__origin__, option))
    return tuple(found)


def _declared(field: Field[Any], hint: Any, option: Option) -> Declared:
    parts = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (types.UnionType, typing.Union)
        else (hint,)
    )
    kinds = [typing.get_origin(part) or part for part in parts if part is not type(None)]
    kind = kinds[0] if option.parse is None else str
    default = field.default
    if default is MISSING and field.default_factory is not MISSING:
        default = None
    return Declared(field.name, kind, type(None) in parts, default, option)


def check_options(group: Any) -> None:
    """Check every declared option of a dataclass instance; for ``__post_init__``.

    Raises:
        InvalidInput: says which value is wrong, what was given, and what is accepted.
    """
    for declared in options_of(type(group)):
        declared.check(getattr(group, declared.name), declared.name.replace("_", " "))
