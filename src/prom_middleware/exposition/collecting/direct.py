"""Metrics of `prometheus_client` as rows, read from the objects that hold their numbers.

Their `collect` makes a dictionary and a tuple for each line of the text; that costs more than the
text. What is read here is none of its interface: the first metric of each class is collected both
ways, and where they differ, `collect` is asked from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Summary, metrics, values
from prometheus_client.samples import Exemplar
from prometheus_client.values import MutexValue

from prom_middleware import failures
from prom_middleware.exposition.collecting.live import is_original
from prom_middleware.instrumentation.families import BlockFamily, Row

# Label values, and the object that has the numbers.
Children = Iterable[tuple[tuple[str, ...], Any]]
_KINDS = frozenset((Counter, Gauge, Histogram, Summary))


def direct_family(metric: Any) -> BlockFamily | None:
    """Return what `metric` collects as a family of rows; None where only its `collect` can tell.

    `metric` may be any collector. The rows are read when they are asked for, without a lock; a
    float is read whole.
    """
    kind = type(metric)
    try:
        if kind not in _KINDS or "collect" in vars(metric) or not _as_known(kind):
            return None
        return _family(metric) if _can_be_read(metric) else None
    except Exception as error:  # a release that looks different inside
        failures.report("scrape.direct", error)
        return None


def _as_known(kind: Any) -> bool:
    """Tell whether nobody changed a class, and its metrics are what they are thought to be."""
    used = (kind.collect, kind._child_samples, MutexValue.get)
    # Where values are kept elsewhere, in files for one, a probe would stay there for good.
    return values.ValueClass is MutexValue and all(map(is_original, used)) and _agrees(kind)


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
    children = [metric] if not metric._labelnames else metric._metrics.values()
    # All of them are alike; what is not is seen when it is read.
    return all(type(value) is MutexValue for value in _values(next(iter(children), None)))


def _values(child: Any) -> tuple[Any, ...]:
    if isinstance(child, Histogram):
        return (child._sum, *child._buckets)
    if isinstance(child, Summary):
        return (child._count, child._sum)
    return () if child is None else (child._value,)


def _children(metric: Any) -> Children:
    if not metric._labelnames:
        return [((), metric)]
    with metric._lock:
        # Not `items`: a tuple for each child, and the garbage collector would look at all there is.
        return zip(list(metric._metrics), list(metric._metrics.values()), strict=True)


def _family(metric: Any) -> BlockFamily:
    bounds = metric._upper_bounds[:-1] if isinstance(metric, Histogram) else ()
    make = ROWS[type(metric)]
    family = BlockFamily(
        metric._get_metric(), metric._labelnames, bounds, lambda: make(_children(metric))
    )
    # Whoever switched it off did so for all.
    family.shows_created = not isinstance(metric, Gauge) and metrics._use_created
    return family


def _read_value(value: Any) -> float:
    return float(value._value if type(value) is MutexValue else value.get())


def _counter_rows(children: Children) -> Iterator[Row]:
    for labels, child in children:
        value = child._value
        traced = value._exemplar if type(value) is MutexValue else value.get_exemplar()
        yield Row(labels, (_read_value(value),), child._created, traced and {0: traced})


def _gauge_rows(children: Children) -> Iterator[Row]:
    for labels, child in children:
        # A function of the user's. `vars` would make a dictionary for each child, and leave it.
        if getattr(child._child_samples, "__func__", None) is not Gauge._child_samples:
            for sample in child._child_samples():
                yield Row(labels, (float(sample.value),))
        else:
            yield Row(labels, (_read_value(child._value),))


def _summary_rows(children: Children) -> Iterator[Row]:
    for labels, child in children:
        yield Row(labels, (_read_value(child._count), _read_value(child._sum)), child._created)


def _histogram_rows(children: Children) -> Iterator[Row]:
    for labels, child in children:
        buckets = child._buckets
        counts = [one._value if type(one) is MutexValue else one.get() for one in buckets]
        numbers = list(accumulate(counts, initial=0.0))
        del numbers[0]
        numbers += (numbers[-1], _read_value(child._sum))
        yield Row(labels, numbers, child._created, _exemplars(buckets))


def _exemplars(buckets: Any) -> dict[int, Exemplar] | None:
    traced = [one._exemplar if type(one) is MutexValue else one.get_exemplar() for one in buckets]
    if not any(traced):
        return None
    return {place: exemplar for place, exemplar in enumerate(traced) if exemplar}


ROWS: dict[Any, Callable[[Children], Iterator[Row]]] = {
    Counter: _counter_rows,
    Gauge: _gauge_rows,
    Summary: _summary_rows,
    Histogram: _histogram_rows,
}
