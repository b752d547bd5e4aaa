"""Graphite's plaintext protocol, with tags: `name;tag=value number time`.

https://graphite.readthedocs.io/en/stable/feeding-carbon.html. Names and types are those of
graphite_exporter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from prometheus_client import REGISTRY, CollectorRegistry

from prom_middleware.bridge.incoming.lines import number
from prom_middleware.bridge.incoming.mapping import Rule, Rules
from prom_middleware.bridge.incoming.names import label_name, metric_name
from prom_middleware.bridge.incoming.receiver import MOST_SERIES, Receiver
from prom_middleware.bridge.incoming.series import RefusedError, Target
from prom_middleware.bridge.incoming.values import Gauge
from prom_middleware.options import between, checked, rules

EXPIRY = 300.0  # seconds, as in graphite_exporter
NOW = -1.0  # the time that means the server's


CHECKS = rules({"sample_expiry": (between(0, 1e9), "a number of seconds, above 0 and below 1e9")})


class GraphiteCollector(Receiver):
    """A Collector of what is sent to a Graphite server: gauges, the last value of each.

    A sample is shown for `sample_expiry` seconds after its own time, or as long as the mapping's
    `ttl` says. Other options are those of `Receiver`.
    """

    protocol = "graphite"

    def __init__(
        self,
        mapping: Rules | None = None,
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = MOST_SERIES,
        sample_expiry: float = EXPIRY,
        strict_match: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        checked({"sample_expiry": sample_expiry}, CHECKS)
        self._expiry = sample_expiry
        self._clock = clock
        super().__init__(mapping, registry, max_series=max_series, strict_match=strict_match)

    def take(self, line: str) -> None:
        """Take one line; raise RefusedError."""
        parts = line.split()
        if len(parts) != 3:
            raise RefusedError("malformed_line")
        path, value, sent = parts[0], number(parts[1]), number(parts[2])
        if value is None:
            raise RefusedError("malformed_value")
        name, *tags = path.split(";")
        found = self.find(name, "gauge", self._labels(tags), self._age(sent))
        if found is not None:
            gauge, scale = found
            gauge.set(value * scale)

    def shown_name(self, name: str) -> str:
        """Return the name with underscores for what Prometheus does not take."""
        return metric_name(name, colons=True)

    def target(self, name: str, kind: str, rule: Rule) -> Target:
        """Return the family of a gauge."""
        text = rule.text or f"Graphite metric {name}"
        return Target(name, kind, text, rule.ttl or self._expiry, Gauge)

    def _age(self, sent: float | None) -> float:
        """Return how many seconds ago that was; what is ahead of our clock is of now."""
        if sent is None or not math.isfinite(sent):
            raise RefusedError("malformed_timestamp")
        return 0.0 if sent == NOW else max(0.0, self._clock() - sent)

    def _labels(self, tags: Iterable[str]) -> dict[str, str]:
        labels = {}
        for tag in tags:
            name, _, value = tag.partition("=")
            if name and value:
                labels[label_name(name)] = value
            else:
                self.lose("malformed_tag")
        return labels
