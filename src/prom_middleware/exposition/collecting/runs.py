"""Collectors that nobody knows, each in a thread that can be left behind when it hangs.

A collector runs once at a time, however many scrapes ask for it, so that threads do not pile up. A
scrape that comes while it runs waits for that run, and leaves it out at once where it has run for
longer than the scrape itself may take.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any

from prometheus_client import Metric as MetricFamily

from prom_middleware.forks import in_child

# A collector that takes longer is waited for while others go on, in seconds.
PATIENCE = 1.0
# Of all registries; as many collectors must hang before one is not even tried.
MAX_THREADS = 16
# Of one collector: one that never ends must end.
MAX_FAMILIES = 100_000

_lock = threading.Lock()
_current: dict[int, Run] = {}
_threads = 0


class HangingError(Exception):
    """A collector does not come back, or not in time."""


class Run:
    """One collection of one collector."""

    def __init__(self, collector: Any, collect: Callable[[], Iterable[MetricFamily]]) -> None:
        self.collector = collector
        self.families: list[MetricFamily] = []
        self.error: BaseException | None = None
        self.done = False
        self._collect = collect
        self._began: float | None = None

    @property
    def age(self) -> float:
        """Return for how many seconds it has been under way."""
        return 0.0 if self._began is None else perf_counter() - self._began

    def go(self) -> None:
        """Collect; never raises."""
        self._began = perf_counter()
        try:
            for family in self._collect():
                self.families.append(_with_list(family))
                if len(self.families) > MAX_FAMILIES:
                    raise HangingError(f"more than {MAX_FAMILIES} families")
        except BaseException as error:
            self.error = error
        finally:
            _current.pop(id(self.collector), None)
            self.done = True

    def fail(self, error: BaseException) -> None:
        """End without having run."""
        self.error = error
        _current.pop(id(self.collector), None)
        self.done = True


class Batch:
    """The runs that one collection of a registry waits for."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._queue: deque[Run] = deque()
        self._moved = perf_counter()

    def add(self, collector: Any, collect: Callable[[], Iterable[MetricFamily]]) -> Run:
        """Return the run of `collector`: the one under way, or one that `start` begins."""
        with _lock:
            run = _current.get(id(collector))
            if run is None:
                run = _current[id(collector)] = Run(collector, collect)
                self._queue.append(run)
        return run

    def start(self) -> None:
        """Begin with the runs, one after the other."""
        if self._queue:
            self._moved = perf_counter()
            _start_thread(self._work, self._give_up)

    def hurry(self, seconds: float) -> None:
        """Begin with the next in another thread, if the one under way takes too long.

        A scrape that may take `seconds` has no more patience than a part of that.
        """
        if self._queue and perf_counter() - self._moved > min(PATIENCE, seconds / 4):
            self.start()

    def _work(self) -> None:
        while self._queue:
            try:
                run = self._queue.popleft()
            except IndexError:  # another thread was faster
                return
            self._moved = perf_counter()
            run.go()
            self._wake()

    def _give_up(self, error: BaseException) -> None:
        while self._queue:
            self._queue.popleft().fail(error)


def _with_list(family: MetricFamily) -> MetricFamily:
    """Return a family whose samples can be gone through more than once."""
    if isinstance(getattr(family, "samples", None), Iterator):
        family.samples = list(family.samples)
    return family


def _start_thread(work: Callable[[], None], give_up: Callable[[BaseException], None]) -> None:
    global _threads
    with _lock:
        if _threads >= MAX_THREADS:
            give_up(HangingError(f"{MAX_THREADS} collectors hang: no further one is asked"))
            return
        _threads += 1
    name = "prom_middleware collector"
    try:
        threading.Thread(target=_counted, args=(work,), name=name, daemon=True).start()
    except RuntimeError as error:
        _ended()
        give_up(error)


def _counted(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        _ended()


def _ended() -> None:
    global _threads
    with _lock:
        _threads -= 1


@in_child
def _in_child() -> None:
    global _lock, _threads
    _lock, _threads = threading.Lock(), 0
    _current.clear()  # those threads are not in the child
