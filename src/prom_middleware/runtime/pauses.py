"""How long garbage collection stops the process: https://docs.python.org/3/library/gc.html

`gc.callbacks` run in the middle of whatever allocated the last object: inside a lock's holder, a
signal handler, the store itself. So what is seen goes through the store's turn, which never waits.
Collections do not nest, and one runs at a time: one start time is enough for all threads.
"""

from __future__ import annotations

import gc
from time import perf_counter
from typing import Any

from prom_middleware import failures
from prom_middleware.runtime.recording import Durations, has_slot
from prom_middleware.stores import Store

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
# Behind the sum: objects collected, objects uncollectable.
COLLECTED, UNCOLLECTABLE = 0, 1

DURATIONS = Durations(
    "python_gc_duration_seconds",
    "How long garbage collection stopped the process, by generation.",
    ("generation",),
    BOUNDS,
    extra=2,
)


class Pauses:
    """Write down each garbage collection of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._began: float | None = None
        # PyPy has no callbacks.
        self._callbacks: list[Any] = getattr(gc, "callbacks", [])

    def start(self) -> None:
        """Begin, if this has not begun."""
        if self._notice not in self._callbacks:
            self._callbacks.append(self._notice)

    def stop(self) -> None:
        """End."""
        if self._notice in self._callbacks:
            self._callbacks.remove(self._notice)
        self._began = None

    def _notice(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        began, self._began = self._began, None
        if began is None:  # we were called first in the middle of a collection
            return
        try:
            self._store.turn.update(self._write, perf_counter() - began, info)
        except Exception as error:
            failures.report("gc", error)

    def _write(self, seconds: float, info: dict[str, int]) -> None:
        if has_slot(self._store):
            labels = (str(info["generation"]),)
            objects = (info["collected"], info["uncollectable"])
            DURATIONS.observe(self._store, labels, seconds, objects)
