"""Times of day, at which time-boxed runs end."""

from __future__ import annotations

from datetime import datetime, timedelta

from explainers.errors import InvalidInput

__all__ = ["until_clock"]


def until_clock(text: str, now: datetime) -> datetime:
    """The next moment after ``now`` that has the time of day ``text`` (``HH:MM``).

    Raises:
        InvalidInput: the text is not a time of day.
    """
    try:
        at = datetime.strptime(text, "%H:%M")
    except ValueError as error:
        raise InvalidInput(f"--until {text}: give a time of day, e.g. 07:00") from error
    found = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return found if found > now else found + timedelta(days=1)
