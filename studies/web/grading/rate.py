"""So many submissions an hour, for each team."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

__all__ = ["RateLimit"]

_HOUR = 3600.0


class RateLimit:
    """A sliding window, in memory: it is forgotten when the server starts again."""

    def __init__(self, per_hour: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_hour, self._now = per_hour, now
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def seconds_to_wait(self, team: str) -> int:
        """0, and the submission counts; or the seconds after which the next one is taken."""
        with self._lock:
            now, times = self._now(), self._times[team]
            while times and times[0] <= now - _HOUR:
                times.popleft()
            if len(times) >= self._per_hour:
                return max(1, math.ceil(times[0] + _HOUR - now))
            times.append(now)
            return 0
