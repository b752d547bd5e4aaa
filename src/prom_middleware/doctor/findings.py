"""What a check has found."""

from __future__ import annotations

from typing import NamedTuple

# In an order that never changes: Django's checks have their numbers of it.
NAMES = (
    "no-door",
    "two-doors",
    "order",
    "open-metrics",
    "telemetry",
    "routes",
    "labels",
    "workers",
    "early-metrics",
)


class Finding(NamedTuple):
    """One thing that is wrong: the check that found it, what it is, and how it is mended."""

    check: str
    problem: str
    remedy: str
