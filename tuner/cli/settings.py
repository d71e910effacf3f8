"""Where a setting comes from: option > environment > ``lime-tuner.toml`` > default."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from explainers.errors import InvalidInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["SETTINGS_FILE", "setting"]

SETTINGS_FILE = "lime-tuner.toml"
_ENVIRONMENT = {
    "storage": "LIME_TUNER_STORAGE", "assets": "LIME_TUNER_ASSETS", "log": "LIME_TUNER_LOG",
    "notify": "LIME_TUNER_NOTIFY",
}  # fmt: skip
_KNOWN = {
    "storage", "assets", "catalog", "model", "weights", "device", "cam_layer", "reference",
    "trials", "workers", "seeds", "runtime_weight", "sampler", "study", "engine", "url", "cutoff",
    "log", "notify", "cluster", "constrain",
}  # fmt: skip


def setting(name: str, option: Any, default: Any = None) -> Any:
    """The value of a global setting.

    Raises:
        InvalidInput: ``lime-tuner.toml`` is not valid.
    """
    if option is not None:
        return option
    variable = _ENVIRONMENT.get(name)
    if variable and os.environ.get(variable):
        return os.environ[variable]
    value = _file().get(name)
    return default if value is None else value


def _file() -> dict[str, Any]:
    path = Path(SETTINGS_FILE)
    if not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    unknown = sorted(set(document) - _KNOWN)
    if unknown:
        raise InvalidInput(
            f"{path} has an unknown setting '{unknown[0]}': known are {', '.join(sorted(_KNOWN))}"
        )
    return document
