"""Nobody is told: libraries that report what they are used for are asked not to."""

from __future__ import annotations

import os

__all__ = ["switch_off_telemetry"]

# ONNX Runtime looks at its own when it is imported, and from then on goes by what it was.
_SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def switch_off_telemetry() -> None:
    """Before such a library is imported; also for the processes that are started from here.

    Whoever has set one of the variables otherwise has been asked.
    """
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
