"""How late event loops are, and how many tasks they have.

A call that was due a moment ago has waited for whatever held the loop up. Asking for one four times
a second takes a loop some 50 microseconds of each second; a loop that ends takes it along.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any
from weakref import WeakKeyDictionary, ref

from prom_middleware import failures
from prom_middleware.forks import renew_in_child
from prom_middleware.runtime.recording import Durations
from prom_middleware.stores import Family, Snapshot, Store

INTERVAL = 0.25  # seconds
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Counting takes time in proportion to the number of tasks: no more than a thousandth of all.
SHARE = 0.001

ASYNCIO = Durations(
    "asyncio_event_loop_lag_seconds",
    "How late a call was that the event loop had been asked for, four times a second.",
    (),
    BOUNDS,
)
TWISTED = Durations(
    "twisted_reactor_lag_seconds",
    "How late a call was that the reactor had been asked for, four times a second.",
    (),
    BOUNDS,
)
TASKS = Family("asyncio_tasks", (), 1, live=True)


class Sampler:
    """Ask for a call again and again; `call_later` is that of the loop or reactor."""

    def __init__(
        self,
        store: Store,
        lags: Durations,
        call_later: Callable[..., Any],
        is_over: Callable[[], bool],
    ) -> None:
        self._store, self._lags = store, lags
        self._call_later, self._is_over = call_later, is_over
        self._call: Any = None
        self._due = 0.0

    def start(self) -> None:
        """Ask for the first call; in the loop's own thread."""
        self._due = monotonic() + INTERVAL
        self._call = self._call_later(INTERVAL, self._tick)

    def stop(self) -> None:
        """Ask for no more; in the loop's own thread."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _tick(self) -> None:
        late = max(0.0, monotonic() - self._due)
        self._call = None
        try:
            if self._is_over():
                return
            self._store.turn.update(self._lags.observe, self._store, (), late)
            self.look()
        except Exception as error:
            failures.report("event_loop", error)
        self.start()

    def look(self) -> None:
        """Look at what else there is."""


class LoopSampler(Sampler):
    """Sample one asyncio loop, without keeping it."""

    def __init__(self, loop: Any, loops: Loops) -> None:
        self._loop: Callable[[], Any] = ref(loop)
        self._loops = loops
        super().__init__(loops.store, ASYNCIO, self._later, lambda: loops.is_over)
        self._next = 0.0
        self._count = 0

    def _later(self, *call: Any) -> None:
        self._loop().call_later(*call)  # its handle would keep the loop

    def begin(self) -> None:
        """Count the tasks, and ask for the first call; in the loop's own thread."""
        self.start()
        try:
            self.look()
        except Exception as error:
            failures.report("event_loop", error)

    @property
    def tasks(self) -> int:
        """Return how many tasks the loop had when they were counted last."""
        loop = self._loop()
        return 0 if loop is None or loop.is_closed() else self._count

    def forget(self) -> None:
        """Know of no task until they are counted again."""
        self._next, self._count = 0.0, 0

    def look(self) -> None:
        """Count the tasks."""
        began = perf_counter()
        if began < self._next:
            return
        self._count = len(sys.modules["asyncio"].all_tasks(self._loop()))
        self._next = perf_counter() + (perf_counter() - began) / SHARE
        self._loops.write_tasks()


class Loops:
    """The asyncio loops of this process that are sampled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_over = False
        self._has_any = False
        self._samplers: WeakKeyDictionary[Any, LoopSampler] = WeakKeyDictionary()
        renew_in_child(self, Loops.forget)

    def watch(self, loop: Any) -> None:
        """Sample `loop` from now on; nothing happens if it is sampled already."""
        sampler = LoopSampler(loop, self)
        if self._samplers.setdefault(loop, sampler) is not sampler:  # of several threads, one
            return
        self._has_any = True
        # The loop may be another thread's.
        loop.call_soon_threadsafe(sampler.begin)

    def forget(self) -> None:
        """Know of no task: those that a forked child has copied are its parent's."""
        for sampler in list(self._samplers.values()):
            sampler.forget()

    def write_tasks(self) -> None:
        """Write down how many tasks all loops of this process have."""
        tasks = sum(sampler.tasks for sampler in list(self._samplers.values()))
        self.store.turn.update(self._write, tasks)

    def refresh(self) -> None:
        """Forget the tasks of loops that are gone, before this process is looked at."""
        if self._has_any:
            self.write_tasks()

    def stop(self) -> None:
        """Have each loop end its sampling by itself."""
        self.is_over = True

    def _write(self, tasks: int) -> None:
        offset = self.store.allocate(TASKS, ())  # first: it may replace the cells
        self.store.cells[offset] = tasks

    def tasks(self, snapshot: Snapshot) -> float | None:
        """Return the tasks of all processes, or None where no loop was ever sampled."""
        return next((block[0] for _, block in snapshot.read(TASKS)), None)
