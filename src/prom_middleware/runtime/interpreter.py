"""The collector of garbage collection, event loops, threads and packages."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.runtime import loops, packages, pauses
from prom_middleware.runtime.pauses import COLLECTED, UNCOLLECTABLE
from prom_middleware.stores import Snapshot, Store

# As prometheus_client's own collector has them, which counts for one process only.
OBJECTS = {
    COLLECTED: ("python_gc_objects_collected", "Objects collected during gc"),
    UNCOLLECTABLE: (
        "python_gc_objects_uncollectable",
        "Uncollectable objects found during GC",
    ),
}
COLLECTIONS = ("python_gc_collections", "Number of times this generation was collected")
# Each process can only tell them of itself; of several, `process_threads` says more.
THREADS = {
    "python_threads_current": "Threads that Python knows of.",
    "python_threads_daemon": "Daemon threads among them: the interpreter does not wait for these.",
}
PACKAGES = ("python_package_info", "Versions of the packages that serve and measure.")
TASKS_HELP = "Tasks that are not done, of the event loops that are sampled."


class InterpreterCollector(Collector):
    """Show what a store has of interpreters, and what this one says of itself."""

    def __init__(self, store: Store, stops: pauses.Pauses, running: loops.Loops) -> None:
        self._store, self._pauses, self._loops = store, stops, running

    def describe(self) -> Iterator[MetricFamily]:
        """Yield every family without samples."""
        yield pauses.DURATIONS.described()
        yield loops.ASYNCIO.described()
        yield loops.TWISTED.described()
        yield GaugeMetricFamily(loops.TASKS.name, TASKS_HELP)
        yield GaugeMetricFamily(*PACKAGES, labels=["package", "version"])
        if self._store.shared:
            for name, help_text in (*OBJECTS.values(), COLLECTIONS):
                yield CounterMetricFamily(name, help_text, labels=["generation"])
        else:
            for name, help_text in THREADS.items():
                yield GaugeMetricFamily(name, help_text)

    def collect(self) -> list[MetricFamily]:
        """Return the families that can be read."""
        families: list[MetricFamily] = []
        try:
            families.extend(self._collect())
        except Exception as error:
            failures.report("runtime", error)
        return families

    def _collect(self) -> Iterator[MetricFamily]:
        yield _packages()
        if not self._store.shared:
            yield from _threads()
        self._pauses.flush()
        self._loops.refresh()
        snapshot = self._store.snapshot()
        for durations in (pauses.DURATIONS, loops.ASYNCIO, loops.TWISTED):
            yield from durations.shown(snapshot)
        tasks = self._loops.tasks(snapshot)
        if tasks is not None:
            yield GaugeMetricFamily(loops.TASKS.name, TASKS_HELP, value=tasks)
        if self._store.shared:
            yield from _objects(snapshot)


def _objects(snapshot: Snapshot) -> Iterator[MetricFamily]:
    for place, (name, help_text) in OBJECTS.items():
        family = CounterMetricFamily(name, help_text, labels=["generation"])
        for labels, number in sorted(pauses.DURATIONS.beside(snapshot, place)):
            family.add_metric(labels, number)
        yield family
    family = CounterMetricFamily(*COLLECTIONS, labels=["generation"])
    for labels, number in sorted(pauses.DURATIONS.counts(snapshot)):
        family.add_metric(labels, number)
    yield family


def _threads() -> Iterator[MetricFamily]:
    threads = threading.enumerate()
    numbers = (len(threads), sum(thread.daemon for thread in threads))
    for (name, help_text), number in zip(THREADS.items(), numbers, strict=True):
        yield GaugeMetricFamily(name, help_text, value=number)


def _packages() -> MetricFamily:
    family = GaugeMetricFamily(*PACKAGES, labels=["package", "version"])
    for package, version in packages.loaded().items():
        family.add_metric([package, version], 1)
    return family
