"""Prometheus' own protocol buffers: delimited messages of `io.prometheus.client.MetricFamily`.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Exemplar, Timestamp

from prom_middleware import failures
from prom_middleware.exposition.formats.escaping import (
    escape_label_names,
    escape_metric_name,
    shown_unit,
)
from prom_middleware.exposition.formats.lines import ROWS, exemplar_length
from prom_middleware.exposition.formats.messages import row_histogram, row_labels
from prom_middleware.exposition.formats.openmetrics import LIMIT
from prom_middleware.exposition.formats.points import (
    INFINITY,
    Bucket,
    Group,
    NativePoint,
    Point,
    Spans,
    groups_of,
    row_point,
)
from prom_middleware.exposition.formats.wire import double, message, signed, text, unsigned, varint
from prom_middleware.instrumentation.families import BlockFamily, Row

# Numbers of the types, and of a metric's field that has its value.
TYPES = {
    "counter": (0, 3),
    "gauge": (1, 2),
    "info": (1, 2),
    "stateset": (1, 2),
    "summary": (2, 4),
    "unknown": (3, 5),
    "histogram": (4, 7),
    "gaugehistogram": (5, 7),
}
# The field of a family that has its metrics, of which there are many.
METRIC = 4
# More is not an integer in a float.
EXACT = 2.0**53
UINT64 = 2.0**64


def family(family: MetricFamily, scheme: str) -> Iterator[bytes]:
    """Yield the slices of one family; empty ones while it is made, for its length is in front."""
    for group in groups_of(family):
        if group is None:
            yield b""
            continue
        metrics = []
        for part in _in_parts(_metrics(family, group, scheme)):
            metrics.append(part)
            yield b""
        if metrics:
            first = _family_head(family, group, scheme)
            yield varint(len(first) + sum(map(len, metrics))) + first
            yield from metrics


def _family_head(family: MetricFamily, group: Group, scheme: str) -> bytes:
    name = escape_metric_name(group.name, scheme)
    shown = shown_unit(family, name)
    unit = text(5, shown) if shown else b""
    kind = unsigned(3, TYPES[group.type][0])
    told: str | None = family.documentation  # a collector's family may have none
    return text(1, name) + (b"" if told is None else text(2, told)) + kind + unit


def _in_parts(metrics: Iterator[bytes]) -> Iterator[bytes]:
    while part := b"".join(islice(metrics, ROWS)):
        yield part


def _metrics(family: MetricFamily, group: Group, scheme: str) -> Iterator[bytes]:
    if isinstance(family, BlockFamily):
        yield from map(_row_metric(family, scheme), family.rows())
        return
    labels, value = partial(_labels, scheme), VALUES.get(group.type, _number)
    field = TYPES[group.type][1]
    for point in group.points:
        content = labels(point.labels) + message(field, value(point, scheme))
        if point.timestamp is not None:
            content += unsigned(6, int(float(point.timestamp) * 1000))
        yield message(METRIC, content)


def _row_metric(family: BlockFamily, scheme: str) -> Callable[[Row], bytes]:
    """Return what encodes a row: the ones without exemplars and the like in less time."""
    labels, quick = row_labels(family, scheme), row_histogram(family.bounds)
    value, point_of = VALUES.get(family.type, _number), row_point(family)
    field, is_histogram = TYPES[family.type][1], family.type == "histogram"
    time = b"" if family.milliseconds is None else unsigned(6, family.milliseconds)

    def metric(row: Row) -> bytes:
        if is_histogram and not row.exemplars and not row.native:
            content = quick(row) + _created(15, row.created)
        else:
            content = value(point_of(row), scheme)
        return message(METRIC, labels(row) + message(field, content) + time)

    return metric


def _labels(scheme: str, labels: Sequence[tuple[str, str]]) -> bytes:
    names = _label_names(scheme, tuple([name for name, _ in labels]))
    pairs = zip(names, labels, strict=True)
    return b"".join([message(1, name + text(2, value)) for name, (_, value) in pairs])


@lru_cache(maxsize=1000)  # most samples of a family have labels of the same names
def _label_names(scheme: str, names: tuple[str, ...]) -> list[bytes]:
    return [text(1, name) for name in escape_label_names(names, scheme)]


def _number(point: Point, scheme: str) -> bytes:
    return double(1, point.value)


def _counter(point: Point, scheme: str) -> bytes:
    exemplar = _exemplar(2, point.exemplar, scheme) if point.exemplar else b""
    return double(1, point.value) + exemplar + _created(3, point.created)


def _sum(point: Point) -> bytes:
    return double(2, 0.0 if point.sum is None else point.sum)  # `or` would lose the sign of -0.0


def _summary(point: Point, scheme: str) -> bytes:
    quantiles = [message(3, double(1, one.bound) + double(2, one.value)) for one in point.buckets]
    count = point.count or 0
    if not 0 <= count < UINT64 or count != int(count):  # there is no field for any other number
        raise ValueError(f"the count of a summary is {count!r}")
    return unsigned(1, int(count)) + _sum(point) + b"".join(quantiles) + _created(4, point.created)


def _histogram(point: Point, scheme: str) -> bytes:
    native = point.native
    if native is None:
        count = point.count
        if count is None:
            count = point.buckets[-1].value if point.buckets else 0.0
        inner = [_bucket(bucket, scheme) for bucket in point.buckets]
        return _count(1, 4, count) + _sum(point) + b"".join(inner) + _created(15, point.created)
    # The bucket of everything says no more than the count, and they must not differ.
    classic = [_bucket(one, scheme) for one in point.buckets if one.bound != INFINITY]
    count = native.observations
    whole = count <= EXACT and all(one == int(one) for one in native.counts)
    # Which of the two fields it is in says whether all others are integers.
    parts = [unsigned(1, int(count)) if whole else double(4, count), _sum(point), *classic]
    parts += (_native(native, whole), _created(15, point.created))
    parts += (_exemplar(16, one, scheme) for one in point.exemplars if one.timestamp is not None)
    return b"".join(parts)


VALUES: dict[str, Callable[[Point, str], bytes]] = {
    "counter": _counter,
    "summary": _summary,
    "histogram": _histogram,
    "gaugehistogram": _histogram,
}


def _bucket(bucket: Bucket, scheme: str) -> bytes:
    exemplar = _exemplar(3, bucket.exemplar, scheme) if bucket.exemplar else b""
    return message(3, _count(1, 4, bucket.value) + double(2, bucket.bound) + exemplar)


def _count(whole: int, floating: int, count: float) -> bytes:
    """Return a count in the field `whole`, or in `floating`, which wins where it is above 0."""
    if 0 <= count <= EXACT and count == int(count):
        return unsigned(whole, int(count))
    return double(floating, count)


def _native(native: NativePoint, whole: bool) -> bytes:
    sides = (native.positive, native.negative)
    parts = [signed(5, native.schema), double(6, native.zero_threshold)]
    parts.append(unsigned(7, int(native.zero_count)) if whole else double(8, native.zero_count))
    parts += (_spans(9, native.negative, whole), _spans(12, native.positive, whole))
    if not any(side.spans for side in sides) and not native.zero_count:
        # A span of nothing tells it from a classic histogram.
        parts.append(message(12, signed(1, 0) + unsigned(2, 0)))
    return b"".join(parts)


def _spans(field: int, side: Spans, whole: bool) -> bytes:
    parts = [
        message(field, signed(1, offset) + unsigned(2, length)) for offset, length in side.spans
    ]
    if whole:
        before = (0, *side.counts)
        deltas = (int(now - then) for now, then in zip(side.counts, before, strict=False))
        parts += (signed(field + 1, delta) for delta in deltas)
    else:
        parts += (double(field + 2, count) for count in side.counts)
    return b"".join(parts)


def _created(field: int, seconds: float) -> bytes:
    return message(field, _timestamp(seconds)) if seconds else b""


def _timestamp(seconds: Any) -> bytes:
    if isinstance(seconds, Timestamp):
        whole, nanoseconds = seconds.sec, seconds.nsec
    else:  # a float has no nanoseconds for the times of today
        whole, microseconds = divmod(round(float(seconds) * 1e6), 10**6)
        nanoseconds = microseconds * 1000
    return unsigned(1, whole) + unsigned(2, nanoseconds)


def _exemplar(field: int, exemplar: Exemplar, scheme: str) -> bytes:
    """Return an exemplar; nothing where it is too long, or cannot be written, which is counted."""
    try:
        if exemplar_length(exemplar) > LIMIT:
            return b""
        time = b"" if exemplar.timestamp is None else message(3, _timestamp(exemplar.timestamp))
        labels = _labels(scheme, sorted(exemplar.labels.items()))
        return message(field, labels + double(2, float(exemplar.value)) + time)
    except Exception as error:
        failures.report("exemplar", error)
        return b""
