"""What bridges tell of themselves, in the registry that they read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from prom_middleware.forks import in_child

PREFIX = "prom_middleware_bridge_"


class Health:
    """The numbers of one bridge; its thread alone changes them."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.sent = 0
        self.dropped: Counter[str] = Counter()  # samples, by reason
        self.failures: Counter[str] = Counter()  # attempts, by the exception's name
        self.late = 0  # collections whose time had passed
        self.last_attempt = 0.0  # by the monotonic clock
        self.last_success = 0.0  # Unix time
        self.connected = False
        self.buffered = 0
        self.collisions = 0


# Of all bridges that send a registry to one place, such as with two prefixes.
Healths = list[Health]
Row = tuple[str, str, Callable[[Healths], float]]


def _sum(number: Callable[[Health], float]) -> Callable[[Healths], float]:
    return lambda healths: sum(map(number, healths))


COUNTERS: tuple[Row, ...] = (
    ("sent_samples", "Samples that were sent.", _sum(lambda health: health.sent)),
    (
        "late_collections",
        "Collections left out because an earlier one was still being sent.",
        _sum(lambda health: health.late),
    ),
)
REASONS: tuple[tuple[str, str, Callable[[Health], Counter[str]]], ...] = (
    ("dropped_samples", "Samples that will never be sent.", lambda health: health.dropped),
    ("failures", "Attempts that failed, by what was raised.", lambda health: health.failures),
)
GAUGES: tuple[Row, ...] = (
    ("buffered_samples", "Samples that wait to be sent.", _sum(lambda health: health.buffered)),
    (
        "name_collisions",
        "Series that got a longer name because another one has theirs.",
        _sum(lambda health: health.collisions),
    ),
    (
        "connected",
        "Whether the last attempt to send succeeded.",
        lambda healths: max(healths, key=lambda health: health.last_attempt).connected,
    ),
    (
        "last_success_timestamp_seconds",
        "When samples were last sent, 0 if never.",
        lambda healths: max(health.last_success for health in healths),
    ),
)


class HealthCollector(Collector):
    """The health of all bridges that read one registry."""

    def __init__(self) -> None:
        self.rows: WeakSet[Health] = WeakSet()

    def collect(self) -> Iterator[Metric]:
        """Yield one family for each number."""
        rows: dict[str, Healths] = {}
        for health in list(self.rows):
            rows.setdefault(health.to, []).append(health)
        for name, text, value in COUNTERS:
            counter = CounterMetricFamily(PREFIX + name, text, labels=["to"])
            for to, healths in rows.items():
                counter.add_metric([to], value(healths))
            yield counter
        for name, text, counts in REASONS:
            counter = CounterMetricFamily(PREFIX + name, text, labels=["to", "reason"])
            for to, healths in rows.items():
                # Copies: a bridge's thread may count a new reason meanwhile.
                total = sum((counts(health).copy() for health in healths), Counter[str]())
                for reason, number in total.items():
                    counter.add_metric([to, reason], number)
            yield counter
        for name, text, value in GAUGES:
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=["to"])
            for to, healths in rows.items():
                gauge.add_metric([to], value(healths))
            yield gauge

    def describe(self) -> list[Metric]:
        """Return the families without samples: registering must not ask for more."""
        names = [name for name, *_ in (*COUNTERS, *REASONS)]
        return [
            *(CounterMetricFamily(PREFIX + name, "") for name in names),
            *(GaugeMetricFamily(PREFIX + name, "") for name, *_ in GAUGES),
        ]


_lock = threading.Lock()
_collectors: WeakKeyDictionary[CollectorRegistry, HealthCollector] = WeakKeyDictionary()


@in_child
def _in_child() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that is not in the child may have held the other


def show(health: Health, registry: Collector) -> None:
    """Show the health of a bridge in `registry`, if that is one; once it is gone, no more."""
    if not isinstance(registry, CollectorRegistry):
        return
    with _lock:
        collector = _collectors.setdefault(registry, HealthCollector())
        if collector not in registry._collector_to_names:  # a test suite may have emptied it
            registry.register(collector)
        collector.rows.add(health)


def hide(health: Health, registry: Collector) -> None:
    """Show the health of a bridge no more."""
    with _lock:
        for known, collector in _collectors.items():
            if known is registry:
                collector.rows.discard(health)
