"""Waiting for what another thread or process is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 20.0  # seconds; only a failing test waits that long


def eventually(
    look: Callable[[], Result], right: Callable[[Result], object], patience: float = PATIENCE
) -> Result:
    """Call `look` until `right` is content with the result, or patience ends; return the last."""
    deadline = time.monotonic() + patience
    while True:
        result = look()
        if right(result) or time.monotonic() > deadline:
            return result
        time.sleep(0.02)


def becomes(look: Callable[[], Result], expected: Result, patience: float = PATIENCE) -> Result:
    """Return what `look` returns once that equals `expected`, or at the end of all patience."""
    return eventually(look, lambda result: result == expected, patience)
