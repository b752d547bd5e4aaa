"""Metric families as they are pushed: those of Prometheus' protocol buffers, in short.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto

A parser that makes `prometheus_client` families of them would lose what a gateway has to give back:
the order of buckets, a histogram's missing `+Inf`, which name a counter was pushed under.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

# Label pairs in the order of their names.
Labels = tuple[tuple[str, str], ...]

COUNTER, GAUGE, SUMMARY, UNTYPED = "COUNTER", "GAUGE", "SUMMARY", "UNTYPED"
HISTOGRAM, GAUGE_HISTOGRAM = "HISTOGRAM", "GAUGE_HISTOGRAM"
# By their numbers in the protocol.
TYPES = (COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM)
# Those whose metrics are one number.
SIMPLE = frozenset((COUNTER, GAUGE, UNTYPED))


@dataclass(frozen=True, slots=True)
class Distribution:
    """A summary or a histogram: `points` are quantiles or bounds, each with its number."""

    count: float = 0
    sum: float = 0.0
    points: tuple[tuple[float, float], ...] = ()


class Foreign(NamedTuple):
    """A value of another type than its family's, and which; nothing where there is no value."""

    type: str = UNTYPED
    value: Any = None


class Metric(NamedTuple):
    """One label set of a family.

    `value` is a float, a Distribution, or Foreign where it cannot be shown. `message` is the
    encoded value where that has more in it: exemplars, native buckets, when it was created.
    """

    labels: Labels
    value: Any
    message: bytes | None = None
    has_timestamp: bool = False


class Family(NamedTuple):
    """All metrics of one name; `help` is None where nothing was said."""

    name: str
    type: str
    help: str | None
    metrics: list[Metric]


def label_names(labels: Labels) -> tuple[str, ...]:
    """Return the names of labels: most metrics of a family have the same ones."""
    return tuple([name for name, _ in labels])
