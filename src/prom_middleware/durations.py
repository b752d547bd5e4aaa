"""Durations as Go writes them, `1m30s`: https://pkg.go.dev/time#ParseDuration"""

from __future__ import annotations

import re

_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
_SECONDS |= {"m": 60.0, "h": 3600.0}


def go_seconds(text: str) -> float:
    """Return the seconds of a duration of 0 or more; raise ValueError for what is none.

    What a number without a unit means is for whoever reads it.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("no duration, such as 30s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
