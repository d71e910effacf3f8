"""Switches that keep libraries from reporting their use."""

from __future__ import annotations

import os

__all__ = ["switch_off_telemetry"]

# ONNX Runtime reads its variable once, when it is imported.
_SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def switch_off_telemetry() -> None:
    """Switch off telemetry, here and in child processes; call it before importing such a library.

    Variables that are set already are left as they are.
    """
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
