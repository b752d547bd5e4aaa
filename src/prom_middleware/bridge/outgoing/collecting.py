"""What a registry has, as a scrape would show it: one broken collector takes no other with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from prometheus_client import Metric as MetricFamily
from prometheus_client.registry import Collector

from prom_middleware import failures
from prom_middleware.exposition.collecting.collection import Collection

PAUSE = 0.05  # seconds between two looks at a collector that takes its time

Part = TypeVar("Part")


def families_of(registry: Collector, seconds: float) -> list[MetricFamily]:
    """Return the families that can be had in so many seconds, of all workers where there are any.

    What raises, hangs or is garbage is left out, and counted in `prom_middleware_errors_total`.
    """
    wake = threading.Event()
    deadline = time.perf_counter() + seconds
    collection = Collection(registry, lambda names: True, wake.set)
    for must_wait in collection.steps(seconds):
        if must_wait:
            wake.wait(PAUSE)
            wake.clear()
    while collection.waits_for(seconds, deadline):
        for _ in collection.take_late():
            pass
        wake.wait(PAUSE)
        wake.clear()
    collection.count_missing()
    collection.leave()
    return collection.families


def parts(
    families: Iterable[MetricFamily], convert: Callable[[MetricFamily], Iterable[Part]]
) -> Iterator[Part]:
    """Yield what `convert` makes of each family; where it raises, that is counted, and no more."""
    for family in families:
        try:
            yield from list(convert(family))
        except Exception as error:
            failures.report("bridge.family", error)
