"""What is read from living processes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily

from prom_middleware import failures
from prom_middleware.runtime.procfs import Process, Procfs


class Gauge(NamedTuple):
    """A family, what one process has of it, and what that is for several."""

    name: str
    help: str
    of: Callable[[Procfs, Process], float]
    together: Callable[[Iterable[float]], float] = math.fsum


GAUGES = (
    Gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes, summed over all live workers.",
        lambda _, process: process.virtual,
    ),
    Gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes, summed over all live workers: "
        "what they share is counted for each.",
        lambda _, process: process.resident,
    ),
    Gauge(
        "process_start_time_seconds",
        "Start time of the oldest live worker since unix epoch in seconds.",
        lambda _, process: process.begun,
        min,
    ),
    Gauge(
        "process_open_fds",
        "Number of open file descriptors, summed over all live workers.",
        lambda proc, process: proc.open_files(process.pid),
    ),
    # A sum as well: it is what the open ones are compared with.
    Gauge(
        "process_max_fds",
        "Maximum number of open file descriptors, summed over all live workers.",
        lambda proc, process: proc.most_files(process.pid),
    ),
    Gauge(
        "process_threads",
        "Number of threads, summed over all live workers.",
        lambda _, process: process.threads,
    ),
)


def read_gauge(
    gauge: Gauge, proc: Procfs, processes: Iterable[Process]
) -> Iterator[GaugeMetricFamily]:
    """Yield the family, unless nobody lives, or one of them may not be looked at."""
    try:
        parts = [part for process in processes for part in _parts(gauge, proc, process)]
    except PermissionError:  # nor is that a failure
        return
    except OSError as error:
        failures.report("process", error)
        return
    if parts:
        yield GaugeMetricFamily(gauge.name, gauge.help, value=gauge.together(parts))


def _parts(gauge: Gauge, proc: Procfs, process: Process) -> list[float]:
    try:
        return [gauge.of(proc, process)]
    except OSError:
        if proc.process(process.pid) is None:  # it has died meanwhile
            return []
        raise
