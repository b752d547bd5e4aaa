"""Metrics of `prometheus_client` as rows, read from the objects that hold their numbers.

Their `collect` makes a dictionary and a tuple for each line of the text; that costs more than the
text. What is read here is none of its interface: the first metric of each class is collected both
ways, and where they differ, `collect` is asked from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Summary, metrics
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Exemplar
from prometheus_client.values import MutexValue

from prom_middleware.instrumentation.families import BlockFamily, Row

# The classes' own, before anybody puts theirs in the place.
_collect, _read = MetricWrapperBase.collect, MutexValue.get
_samples = {one: one._child_samples for one in (Counter, Gauge, Histogram, Summary)}


def direct_family(metric: Any) -> BlockFamily | None:
    """Return what `metric` collects as a family of rows; None where only its `collect` can tell.

    `metric` may be any collector. The rows are read when they are asked for, without a lock; a
    float is read whole.
    """
    kind = type(metric)
    try:
        if kind not in _samples or "collect" in vars(metric) or not _as_known(kind):
            return None
        return _family(metric) if _can_be_read(metric) else None
    except Exception:  # a release that looks different inside
        return None


def _as_known(kind: Any) -> bool:
    """Tell whether nobody changed a class, and its metrics are what they are thought to be."""
    unchanged = kind.collect is _collect and MutexValue.get is _read
    return unchanged and kind._child_samples is _samples[kind] and _agrees(kind)


@lru_cache(maxsize=8)
def _agrees(kind: Any) -> bool:
    for labels in ((), ("a", "b")):
        probe = kind("probe", "Probe.", labels, registry=None)
        child = probe.labels("1", "2") if labels else probe
        getattr(child, "observe" if kind in (Histogram, Summary) else "inc")(2.5)
        if not _can_be_read(probe):
            return False
        (collected,) = probe.collect()
        if _family(probe).samples != collected.samples:
            return False
    return True


def _can_be_read(metric: Any) -> bool:
    if isinstance(metric, Histogram) and metric._upper_bounds[0] < 0:
        return False  # there is no sum then
    return all(
        "_child_samples" not in vars(child) and type(value) is MutexValue
        for _, child in _children(metric)
        for value in _values(child)
    )


def _values(child: Any) -> tuple[Any, ...]:
    if isinstance(child, Histogram):
        return (child._sum, child._buckets[0])
    return (child._count, child._sum) if isinstance(child, Summary) else (child._value,)


def _children(metric: Any) -> list[tuple[tuple[str, ...], Any]]:
    if not metric._labelnames:
        return [((), metric)]
    with metric._lock:
        return list(metric._metrics.items())


def _family(metric: Any) -> BlockFamily:
    bounds = metric._upper_bounds[:-1] if isinstance(metric, Histogram) else ()
    make = ROWS[type(metric)]
    family = BlockFamily(
        metric._get_metric(), metric._labelnames, bounds, lambda: make(_children(metric))
    )
    # Whoever switched it off did so for all.
    family.shows_created = not isinstance(metric, Gauge) and metrics._use_created
    return family


def _counter_rows(children: list[tuple[tuple[str, ...], Any]]) -> Iterator[Row]:
    for labels, child in children:
        value = child._value
        traced = value._exemplar
        yield Row(labels, (float(value._value),), child._created, traced and {0: traced})


def _gauge_rows(children: list[tuple[tuple[str, ...], Any]]) -> Iterator[Row]:
    for labels, child in children:
        yield Row(labels, (float(child._value._value),))


def _summary_rows(children: list[tuple[tuple[str, ...], Any]]) -> Iterator[Row]:
    for labels, child in children:
        values = (float(child._count._value), float(child._sum._value))
        yield Row(labels, values, child._created)


def _histogram_rows(children: list[tuple[tuple[str, ...], Any]]) -> Iterator[Row]:
    for labels, child in children:
        buckets = child._buckets
        values = list(accumulate([bucket._value for bucket in buckets], initial=0.0))
        del values[0]
        values += (values[-1], float(child._sum._value))
        yield Row(labels, values, child._created, _exemplars(buckets))


def _exemplars(buckets: Any) -> dict[int, Exemplar] | None:
    traced = [bucket._exemplar for bucket in buckets]
    if not any(traced):
        return None
    return {place: exemplar for place, exemplar in enumerate(traced) if exemplar}


ROWS: dict[Any, Callable[[list[tuple[tuple[str, ...], Any]]], Iterator[Row]]] = {
    Counter: _counter_rows,
    Gauge: _gauge_rows,
    Summary: _summary_rows,
    Histogram: _histogram_rows,
}
