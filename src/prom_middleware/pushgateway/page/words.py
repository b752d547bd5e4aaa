"""Times and numbers in words."""

from __future__ import annotations

from datetime import datetime, timezone

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def counted(number: int, noun: str) -> str:
    """Return `1 group`, `2 groups`; of `series` there is one form only."""
    plural = noun if noun.endswith("s") else f"{noun}{'es' if noun.endswith('sh') else 's'}"
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a duration in its greatest whole unit."""
    for unit, size in _UNITS:
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return "a moment"


def ago(then: float, now: float) -> str:
    """Return how long ago a time was, both in seconds since 1970."""
    return "just now" if now - then < 2 else f"{duration(now - then)} ago"


def exact(seconds: float) -> str:
    """Return a time to the second, for people."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def machine(seconds: float) -> str:
    """Return a time as HTML has it in `datetime`."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
