"""What ``grade``, ``serve`` and ``dashboard`` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from explainers.errors import InvalidInput

if TYPE_CHECKING:
    from socket import socket

__all__ = ["address_of", "check_installed", "check_least"]


def check_installed(command: str, packages: Mapping[str, str]) -> None:
    """Refuse a command whose optional packages are not all there.

    Args:
        packages: name on the index by module; the extra is named like the command.
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
        numbers: by option, without hyphens in front.
        least: of options that may be something else than 1 at least.
    """
    for name, value in numbers.items():
        low = (least or {}).get(name, 1)
        if not value >= low:
            raise InvalidInput(f"--{name} {value}: give at least {low}")


def address_of(bound: socket) -> str:
    """The URL of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
