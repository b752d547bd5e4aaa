"""Process metrics of all workers, right whichever of them answers the scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.runtime.gauges import GAUGES, read_gauge
from prom_middleware.runtime.holders import find_holders
from prom_middleware.runtime.ledger import read_notes, record
from prom_middleware.runtime.procfs import TICKS, Procfs
from prom_middleware.stores import Store, Worker

CPU = "process_cpu_seconds_total"
CPU_HELP = "Total user and system CPU time spent in seconds, by all workers there ever were."
RESTARTS = "prom_middleware_worker_restarts_total"
RESTARTS_HELP = "Workers that took the place of one that was gone."


def replace(registry: CollectorRegistry, store: Store) -> None:
    """Show the processes of `store` where `registry` shows the one that answers.

    Nothing happens where `prometheus_client`'s own collector is not registered. The counts of its
    garbage collector go: each process counts its own, and nobody else can ask for them.
    """
    if _swap(registry, PROCESS_COLLECTOR, WorkerCollector(store)):
        with suppress(KeyError):
            registry.unregister(GC_COLLECTOR)


def _swap(registry: CollectorRegistry, old: Collector, new: Collector) -> bool:
    try:
        registry.unregister(old)
    except KeyError:
        return False
    try:
        registry.register(new)
    except ValueError as error:  # somebody else's metric has one of the names
        registry.register(old)
        failures.report("process", error)
        return False
    return True


class WorkerCollector(Collector):
    """Show what all processes use that write to a store."""

    def __init__(self, store: Store, proc: str = "/proc") -> None:
        self.store = store
        self._proc = proc

    def describe(self) -> Iterator[MetricFamily]:
        """Yield every family without samples."""
        yield CounterMetricFamily(CPU, CPU_HELP)
        for gauge in GAUGES:
            yield GaugeMetricFamily(gauge.name, gauge.help)
        yield CounterMetricFamily(RESTARTS, RESTARTS_HELP)

    def collect(self) -> list[MetricFamily]:
        """Return the families that can be read; without /proc, only the restarts."""
        families: list[MetricFamily] = []
        try:
            families.extend(self._collect())
        except Exception as error:
            failures.report("process", error)
        return families

    def _collect(self) -> Iterator[MetricFamily]:
        snapshot = self.store.snapshot()
        yield _restarts(snapshot.workers)
        proc = Procfs(self._proc)
        if not proc.is_there():
            return
        notes = read_notes(snapshot)
        holders = find_holders(proc, snapshot.workers, notes)
        processes = [holder.process for holder in holders.values()]
        for gauge in GAUGES:
            yield from read_gauge(gauge, proc, processes)
        if notes or holders:
            seen = {slot: holder.note() for slot, holder in holders.items()}
            ticks = record(self.store, notes, seen)
            yield CounterMetricFamily(CPU, CPU_HELP, value=ticks / TICKS)


def _restarts(workers: Sequence[Worker]) -> MetricFamily:
    # Who holds a slot first has replaced nobody.
    number = sum(worker.generation - 1 for worker in workers)
    return CounterMetricFamily(RESTARTS, RESTARTS_HELP, value=number)
