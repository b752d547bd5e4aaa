"""How long a group is kept that is not pushed any more: off unless it is asked for."""

from __future__ import annotations

import re

from prom_middleware.parser.line import go_quoted
from prom_middleware.pushgateway.families import Labels
from prom_middleware.pushgateway.grouping import TTL_LABEL, GroupingError, take_ttl

# The longest unit first, and each once: as `model.ParseDuration` has it.
_DURATION = re.compile(
    "".join(f"(?:[0-9]+{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
)
_PARTS = re.compile(r"([0-9]+)(ms|[smhdwy])")
_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365 * 86400.0,
}
# Seconds; their nanoseconds have to be 64 bits with room for the time of now.
LONGEST = 100 * _SECONDS["y"]


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Prometheus writes it, `1h30m`; raise ValueError."""
    if text == "0":
        return 0.0
    if not text or not _DURATION.fullmatch(text) or len(text) > 40:
        raise ValueError(f"{text!r} is no duration, such as 90s or 1h30m")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PARTS.findall(text))
    if seconds > LONGEST:
        raise ValueError(f"{text!r} is no duration of less than a century")
    return seconds


def ttl_of(given: Labels, default: float | None) -> tuple[Labels, int | None]:
    """Return a grouping key without its own duration, and how long to keep its group, in ns.

    `default` is in seconds; 0 is for ever, and None allows no duration in the key. Raises
    GroupingError.
    """
    key, said = take_ttl(given)
    if said is None:
        return key, int(default * 1e9) if default else None
    if default is None:
        raise GroupingError(f"improper label name {go_quoted(TTL_LABEL)}")
    try:
        seconds = parse_duration(said)
    except ValueError as error:
        raise GroupingError(f"{TTL_LABEL}: {error}") from None
    return key, int(seconds * 1e9) if seconds else None
