"""How much of the machine others used while something was timed."""

from __future__ import annotations

import os

import psutil

__all__ = ["BUSY", "LoadMeter", "busy_sentence"]

BUSY = 0.1
"""Share from which timings are not to be trusted: PyTorch's threads wait for each other after every
layer, so one busy neighbour on a small machine makes it several times slower."""

_Seconds = tuple[float, float, float]


def busy_sentence(share: float | None) -> str | None:
    """What to say beside seconds that were measured while others used the machine.

    Args:
        share: :meth:`LoadMeter.others_share` of the time of measuring.

    Returns:
        ``None`` where they may be trusted, as far as is known.
    """
    if share is None or share < BUSY:
        return None
    return (
        f"other processes took {share:.0%} of this machine meanwhile: seconds, and how many times "
        "faster, mean little; IoU is as good as ever"
    )


class LoadMeter:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._before = _cpu_seconds()

    def others_share(self) -> float | None:
        """Share of all processors' time that other processes have used, in [0, 1].

        ``None`` before the processors' clocks have moved.
        """
        pairs = zip(self._before, _cpu_seconds(), strict=True)
        had, used, own = (late - early for early, late in pairs)
        return min(1.0, max(0.0, used - own) / had) if had > 0 else None

    def was_quiet(self) -> bool:
        """Whether timings may be trusted, as far as is known."""
        share = self.others_share()
        return share is None or share < BUSY


def _cpu_seconds() -> _Seconds:
    """Seconds that the processors had, that anybody used, that we and our children used."""
    times = psutil.cpu_times()
    had = sum(times[:8])  # what Linux lists after that, guests had, is counted before
    idle = times.idle + getattr(times, "iowait", 0.0)
    return had, had - idle, sum(os.times()[:4])
