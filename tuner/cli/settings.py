"""Where a setting comes from: option > environment > ``lime-tuner.toml`` > default."""

from __future__ import annotations

import math
import os
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput
from explainers.messages import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SETTINGS_FILE", "setting"]

SETTINGS_FILE = "lime-tuner.toml"
_DIGITS = 20  # of a number that is shown


@dataclass(frozen=True)
class _Kind:
    """What a setting may be.

    Attributes:
        fits: whether a value, as TOML or the environment has it, is one of this kind.
    """

    accepts: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class _Setting:
    """One setting.

    Attributes:
        variable: of the environment, that gives it as well.
        secret: whether a value may hold a password, and is not shown.
    """

    kind: _Kind
    variable: str | None = None
    secret: bool = False


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.strip() != ""
        and not any(unicodedata.category(character) == "Cc" for character in value)
    )


def _whole(most: int) -> _Kind:
    def fits(value: Any) -> bool:
        return type(value) is int and 1 <= value <= most  # to Python, true is a number

    return _Kind(f"a whole number from 1 to {most}, without quotes", fits)


def _number_from_0(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


_TEXT = _Kind("text in quotes, in one line", _is_text)
_NUMBER = _Kind("a number from 0 up, without quotes", _number_from_0)
_SETTINGS = {
    "assets": _Setting(_TEXT, "LIME_TUNER_ASSETS"),
    "cam_layer": _Setting(_TEXT),
    "catalog": _Setting(_TEXT),
    "cluster": _Setting(_TEXT),
    "constrain": _Setting(_TEXT),
    "cutoff": _Setting(_NUMBER),
    "device": _Setting(_TEXT),
    "engine": _Setting(_TEXT),
    "log": _Setting(_Kind('a file in quotes, or "none"', _is_text), "LIME_TUNER_LOG"),
    "model": _Setting(_TEXT),
    "notify": _Setting(_TEXT, "LIME_TUNER_NOTIFY", secret=True),
    "reference": _Setting(_TEXT),
    "runtime_weight": _Setting(_NUMBER),
    "sampler": _Setting(_TEXT),
    "seeds": _Setting(_whole(10_000)),
    "storage": _Setting(_TEXT, "LIME_TUNER_STORAGE", secret=True),
    "study": _Setting(_TEXT),
    "trials": _Setting(_whole(1_000_000)),
    "url": _Setting(_TEXT, secret=True),
    "weights": _Setting(_TEXT),
    "workers": _Setting(_whole(1_000)),
}


def setting(name: str, option: Any, default: Any = None) -> Any:
    """The value of a global setting.

    Raises:
        InvalidInput: the option is empty, as of a shell's variable that is not set;
            ``lime-tuner.toml`` or the environment variable is not valid.
    """
    known = _SETTINGS[name]
    if option is not None:
        if isinstance(option, str) and not option.strip():
            called = name.replace("_", "-")
            raise InvalidInput(f"--{called} is empty: give {known.kind.accepts}, or leave it out")
        return option
    if known.variable and os.environ.get(known.variable):
        given = os.environ[known.variable]
        _check(f"the environment variable {known.variable}", known, given)
        return given
    value = _file().get(name)
    return default if value is None else value


def _check(where: str, known: _Setting, value: Any) -> None:
    if not known.kind.fits(value):
        raise InvalidInput(f"{where} is {_shown(known, value)}: give {known.kind.accepts}")


def _shown(known: _Setting, value: Any) -> str:
    what = {bool: "true or false", list: "a list", dict: "a table", str: "text"}.get(type(value))
    if known.secret and isinstance(value, str):
        return "text that is empty, or not in one line"
    if known.secret or isinstance(value, (list, dict)):
        return what or f"of type {type(value).__name__}"
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        return f"a number of more than {_DIGITS} digits"
    return one_line(f"{value!r}, {what}" if isinstance(value, str) else str(value).lower())


def _file() -> dict[str, Any]:
    """All of the file, checked: also what this command does not need."""
    path = Path(SETTINGS_FILE)
    if not os.path.lexists(path):
        return {}
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InvalidInput(f"{path} is no file: remove it, or write settings into one")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not in UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    unknown = sorted(set(document) - set(_SETTINGS))
    if unknown:
        raise InvalidInput(
            f"{path} has an unknown setting '{unknown[0]}': known are {', '.join(_SETTINGS)}"
        )
    for name, value in document.items():
        _check(f"{path}: {name}", _SETTINGS[name], value)
    return document
