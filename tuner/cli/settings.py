"""One setting by name, for commands whose options are not groups yet."""

from __future__ import annotations

from typing import Any

from tuner.cli.option_groups import SETTINGS_FILE, _given, _read_file, known_settings

__all__ = ["SETTINGS_FILE", "setting"]


def setting(name: str, option: Any, default: Any = None) -> Any:
    """The option, or the value from the environment or ``lime-tuner.toml``, or the default."""
    found = _given(known_settings()[name], option, _read_file())
    return default if found is None else found
