"""Types of the functions that this package reports its progress to."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "StepProgress"]

Progress = Callable[[float], None]
"""Called with the share that is done, in [0, 1]."""

StepProgress = Callable[[str, float], None]
"""Called with the name of a step and the share of it that is done, in [0, 1]."""
