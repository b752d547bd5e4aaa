"""Memory for each label set: `python -m benchmarks.memory NUMBER`, bytes as JSON."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.limits import BOUNDS
from prom_middleware.instrumentation import Instrumentation

LABELS = ("method", "route", "status")
# A latency for each bucket, +Inf too.
SPREAD = (*(bound * 0.9 for bound in BOUNDS), BOUNDS[-1] * 1.1)
# What a route of a web application has as a rule: it is fast, and sometimes less so.
USUAL = SPREAD[:3]


class Dialect:
    """A request is its route."""

    def route(self, request: str) -> str:
        """Return the route."""
        return request

    def path(self, request: str) -> str:
        """Return the path."""
        return request

    def headers(self, request: str) -> dict[str, str]:
        """Return the headers."""
        return {}


def ours(routes: list[str], latencies: tuple[float, ...]) -> Any:
    """Record through the real instrumentation; returns what must stay alive."""
    registry = CollectorRegistry()
    core = Instrumentation({"registry": registry, "max_series": len(routes) + 1}, Dialect())
    for route in routes:
        for seconds in latencies:
            observation = core.start(route, "POST")
            observation.status = "200"
            observation.received, observation.sent = 1500, 70_000
            observation.started -= seconds  # as if it had begun that much earlier
            observation.finish()
    return registry, core


def theirs(routes: list[str], latencies: tuple[float, ...]) -> Any:
    """Record the same four metrics with `prometheus_client`."""
    registry = CollectorRegistry()
    histogram = Histogram("duration_seconds", "-", LABELS, registry=registry)
    requests, received, sent = (
        Counter(name, "-", LABELS, registry=registry) for name in ("requests", "received", "sent")
    )
    for route in routes:
        labels = ("POST", route, "200")
        for seconds in latencies:
            histogram.labels(*labels).observe(seconds)
            requests.labels(*labels).inc()
            received.labels(*labels).inc(1500)
            sent.labels(*labels).inc(70_000)
    return registry


def bytes_each(record: Callable[..., Any], number: int, latencies: tuple[float, ...]) -> float:
    """Return the bytes that stay for each of so many label sets.

    The routes' own names are there before: frameworks hold them.
    """
    routes = [f"/api/v1/resource{n}/{{item_id}}" for n in range(number)]
    record(routes[:1], latencies)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = record(routes, latencies)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return (after - before) / number


def main() -> None:
    """Measure the number of label sets that the command line names."""
    number = int(sys.argv[1])
    figures = {
        f"{name}, {what}": bytes_each(record, number, latencies)
        for name, record in (("prom_middleware", ours), ("prometheus_client", theirs))
        for what, latencies in (("usual", USUAL), ("every bucket in use", SPREAD))
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
