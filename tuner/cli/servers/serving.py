"""Helpers of the commands that serve: ``grade``, ``serve`` and ``dashboard``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput

if TYPE_CHECKING:
    from socket import socket

__all__ = ["address_of", "check_installed", "check_least"]


def check_installed(command: str, packages: Mapping[str, str]) -> None:
    """Refuse a command whose optional packages are not all installed.

    Args:
        command: name of the command and of the extra that brings the packages.
        packages: names on the package index, by module.

    Raises:
        InvalidInput: names the missing packages.
    """
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        raise InvalidInput(
            f"{command} needs {', '.join(missing)}: pip install -e '.[{command}]' installs what it "
            "needs"
        )


def check_least(numbers: Mapping[str, float], least: Mapping[str, int] | None = None) -> None:
    """Refuse options that are too small.

    Args:
        numbers: values by option, without leading hyphens.
        least: the least value by option, where it is not 1.

    Raises:
        InvalidInput: an option is below its least value.
    """
    for name, value in numbers.items():
        low = (least or {}).get(name, 1)
        if not value >= low:
            raise InvalidInput(f"--{name} {value}: give at least {low}")


def address_of(bound: socket) -> str:
    """The URL of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
