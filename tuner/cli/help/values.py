"""The values that a shell completes: studies, catalogues and keys of images."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from studies.catalog import SHIPPED_CATALOGUES, load_catalog
from studies.queries import study_names
from tuner.cli.options import SETTINGS_FILE, CatalogOption, StorageOptions, given_options

__all__ = ["values"]

_SECONDS = 2.0  # how long a shell waits for a database


def values(flag: str, given: Mapping[str, Any], incomplete: str) -> list[str]:
    """The values of an option that begin with what is typed.

    Args:
        given: values of the options before it, by their fields.
    """
    return _VALUES[flag](given, incomplete)


def _in_time(values: Callable[[], list[str]]) -> list[str]:
    """The values; none where they cannot be read, or not in time."""
    logging.disable()  # a warning would be written into what is being typed
    found: list[str] = []

    def read() -> None:
        with suppress(Exception):
            found.extend(values())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    logging.disable(logging.NOTSET)
    return list(found)


def _studies(given: Mapping[str, Any], incomplete: str) -> list[str]:
    """Prefixes of the studies' names; whole names after a slash."""

    def read() -> list[str]:
        names = study_names(given_options(StorageOptions, given).storage)
        if "/" in incomplete:
            return names
        return list(dict.fromkeys(name.partition("/")[0] for name in names))

    return [name for name in _in_time(read) if name.startswith(incomplete)]


def _images(given: Mapping[str, Any], incomplete: str) -> list[str]:
    """Keys of the catalogue, after those that are there and a comma."""
    before, comma, last = incomplete.rpartition(",")
    there = before.split(",")

    def read() -> list[str]:
        keys = load_catalog(given_options(CatalogOption, given).catalog).keys
        return [key for key in keys if key not in there]

    return [f"{before}{comma}{key}" for key in _in_time(read) if key.startswith(last)]


def _catalogues(_: Mapping[str, Any], incomplete: str) -> list[str]:
    """Shipped catalogues, TOML files and folders."""

    def read() -> list[str]:
        folder = incomplete.rpartition("/")[0]
        start = f"{folder}/" if "/" in incomplete else ""
        entries = sorted(Path(start or ".").expanduser().iterdir())
        return [
            f"{start}{entry.name}{'/' * entry.is_dir()}"
            for entry in entries
            if not entry.name.startswith(".")
            and (entry.is_dir() or (entry.suffix == ".toml" and entry.name != SETTINGS_FILE))
        ]

    found = [*SHIPPED_CATALOGUES, *_in_time(read)]
    return [each for each in found if each.startswith(incomplete)]


_VALUES: Mapping[str, Callable[[Mapping[str, Any], str], list[str]]] = {
    "--study": _studies,
    "--studies": _studies,
    "--other": _studies,
    "--images": _images,
    "--catalog": _catalogues,
}
