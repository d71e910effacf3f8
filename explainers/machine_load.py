"""CPU use by other processes while something is timed."""

from __future__ import annotations

import os

import psutil

__all__ = ["BUSY", "LoadMeter", "busy_sentence"]

BUSY = 0.1
"""Share of the CPU used by others from which on timings are unreliable: PyTorch's threads wait for
each other after every layer, so one busy core makes a small machine several times slower."""

_Seconds = tuple[float, float, float]


def busy_sentence(share: float | None) -> str | None:
    """The warning to show beside timings, if other processes used the machine meanwhile.

    Args:
        share: :meth:`LoadMeter.others_share` during the timing.

    Returns:
        ``None`` where the share is unknown or below :data:`BUSY`.
    """
    if share is None or share < BUSY:
        return None
    return (
        f"other processes took {share:.0%} of this machine meanwhile: seconds, and how many times "
        "faster, mean little; IoU is as good as ever"
    )


class LoadMeter:
    """Measures the CPU use of other processes since the object was created."""

    def __init__(self) -> None:
        self._before = _cpu_seconds()

    def others_share(self) -> float | None:
        """Share of the CPU time of all cores that other processes used, in [0, 1].

        ``None`` before the system's CPU counters have advanced.
        """
        pairs = zip(self._before, _cpu_seconds(), strict=True)
        had, used, own = (late - early for early, late in pairs)
        return min(1.0, max(0.0, used - own) / had) if had > 0 else None

    def was_quiet(self) -> bool:
        """Whether the share is unknown or below :data:`BUSY`."""
        share = self.others_share()
        return share is None or share < BUSY


def _cpu_seconds() -> _Seconds:
    """CPU seconds: of all cores, used by any process, used by this process and its children."""
    times = psutil.cpu_times()
    had = sum(times[:8])  # the guest times that follow on Linux are part of these
    idle = times.idle + getattr(times, "iowait", 0.0)
    return had, had - idle, sum(os.times()[:4])
