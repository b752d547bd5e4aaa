"""The gateway's metrics of itself, in the same exposition as what is pushed."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, Summary

from prom_middleware._version import __version__
from prom_middleware.pushgateway.consistency import OwnFamily
from prom_middleware.pushgateway.families import COUNTER, SIMPLE, SUMMARY, Distribution, Metric

# As the original names them.
_REQUESTS = "Total HTTP requests processed by the Pushgateway, excluding scrapes."
_SECONDS = "HTTP request duration for pushes to the Pushgateway."
_BYTES = "HTTP request size for pushes to the Pushgateway."
# Those that are not there from the beginning; the original does not mend a help of theirs.
_VARYING = "pushgateway_http_"
_BUILD = "A metric with a constant '1' value labeled by version and pythonversion."


class OwnMetrics:
    """Counts requests and pushes, in a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ("handler", "method", "code")
        self._requests = Counter("pushgateway_http_requests", _REQUESTS, labels, registry=registry)
        self._seconds = Summary(
            "pushgateway_http_push_duration_seconds", _SECONDS, ("method",), registry=registry
        )
        self._sizes = Summary(
            "pushgateway_http_push_size_bytes", _BYTES, ("method",), registry=registry
        )
        ProcessCollector(registry=registry)
        names = ("version", "pythonversion")
        build = Gauge("pushgateway_build_info", _BUILD, names, registry=registry)
        build.labels(__version__, platform.python_version()).set(1)

    def count(self, handler: str, method: str, status: int) -> None:
        """Count a request that is no scrape."""
        self._requests.labels(handler, method.lower(), str(status)).inc()

    def observe_push(self, method: str, size: int, seconds: float) -> None:
        """Record a push of `size` bytes that took `seconds`."""
        self._sizes.labels(method.lower()).observe(size)
        self._seconds.labels(method.lower()).observe(seconds)

    def names(self) -> dict[str, OwnFamily]:
        """Return what a pushed family of one of our names has to look like."""
        return {
            _whole_name(one): OwnFamily(
                one.type.upper(), one.documentation, not one.name.startswith(_VARYING)
            )
            for one in self._registry.collect()
        }

    def metrics(self) -> dict[str, list[Metric]]:
        """Return our metrics by the names of their families."""
        return {_whole_name(one): _metrics(one) for one in self._registry.collect()}


def _whole_name(family: Any) -> str:
    ending = "_total" if family.type == COUNTER.lower() else ""
    return f"{family.name}{ending}"


def _metrics(family: Any) -> list[Metric]:
    found: dict[tuple[tuple[str, str], ...], Any] = {}
    for sample in family.samples:
        labels = tuple(sorted(sample.labels.items()))
        ending = sample.name.removeprefix(_whole_name(family))
        if not ending and family.type.upper() in SIMPLE:
            found[labels] = float(sample.value)
        elif ending in ("_count", "_sum") and family.type.upper() == SUMMARY:
            part = {ending[1:]: sample.value}
            found[labels] = replace(found.get(labels, Distribution()), **part)
    return [Metric(labels, value) for labels, value in sorted(found.items())]
