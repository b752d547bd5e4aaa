"""A clock that says what it is told to."""

from __future__ import annotations


class Clock:
    """Stands in for `time`, `monotonic` or `perf_counter`, in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
