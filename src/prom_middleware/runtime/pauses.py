"""How long garbage collection stops the process: https://docs.python.org/3/library/gc.html

`gc.callbacks` run in the middle of whatever allocated the last object: inside a lock's holder, a
signal handler, the store itself. So what is seen goes through the store's turn, which never waits.
Collections do not nest, and one runs at a time: one start time is enough for all threads. The short
ones of the youngest generation, of which there may be one per request, are written some at a time.
"""

from __future__ import annotations

import gc
from collections import deque
from time import perf_counter
from typing import Any

from prom_middleware import failures
from prom_middleware.forks import renew_in_child
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


YOUNGEST = ("0",)
# Of the youngest generation; who ends by a signal takes so many along.
MOST_WAITING = 16


class Pauses:
    """Write down each garbage collection of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._began: float | None = None
        self._waiting: deque[tuple[float, dict[str, int]]] = deque()
        renew_in_child(self, Pauses.forget)
        # PyPy has no callbacks.
        self._callbacks: list[Any] = getattr(gc, "callbacks", [])

    def start(self) -> None:
        """Begin, if this has not begun."""
        if self._notice not in self._callbacks:
            self._callbacks.append(self._notice)

    def stop(self) -> None:
        """End, and write what waits where its like was written before."""
        if self._notice in self._callbacks:
            self._callbacks.remove(self._notice)
        self._store.turn.update(self._write_last)

    def flush(self) -> None:
        """Write what waits; before this process is looked at."""
        self._store.turn.update(self._write)

    def forget(self) -> None:
        """Drop what waits, and what has begun."""
        self._began = None
        self._waiting.clear()

    def _notice(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        began, self._began = self._began, None
        if began is None:  # we were called first in the middle of a collection
            return
        try:
            self._waiting.append((perf_counter() - began, info))
            if info["generation"] or len(self._waiting) >= MOST_WAITING:
                self.flush()
        except Exception as error:
            failures.report("gc", error)

    def _write_last(self) -> None:
        # For the first one the store may wait for a lock, and for files that are gone.
        if YOUNGEST not in self._store.offsets(DURATIONS.family):
            self._waiting.clear()
        self._write()

    def _write(self) -> None:
        if not has_slot(self._store):
            self._waiting.clear()
        while self._waiting:
            seconds, info = self._waiting.popleft()
            objects = (info["collected"], info["uncollectable"])
            DURATIONS.observe(self._store, (str(info["generation"]),), seconds, objects)
