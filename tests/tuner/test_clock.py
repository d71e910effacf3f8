"""Times of day."""

from __future__ import annotations

from datetime import datetime

import pytest

from explainers.errors import InvalidInput
from tuner.clock import until_clock


def test_until_is_the_next_such_time() -> None:
    evening = datetime(2026, 3, 28, 23, 30)
    assert until_clock("07:00", evening) == datetime(2026, 3, 29, 7)
    assert until_clock("23:45", evening) == datetime(2026, 3, 28, 23, 45)
    with pytest.raises(InvalidInput, match="time of day"):
        until_clock("7 am", evening)
