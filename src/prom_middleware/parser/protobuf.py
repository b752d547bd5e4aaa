"""Prometheus' own protocol buffers: delimited messages of `io.prometheus.client.MetricFamily`.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from math import inf
from typing import Any

import prometheus_client.samples as client
from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Exemplar, Sample, Timestamp

from prom_middleware.errors import ParseError
from prom_middleware.exposition.formats.lines import number as shown
from prom_middleware.exposition.formats.wire_reader import varint
from prom_middleware.parser.messages import FAMILY, Message, message

# Types by their numbers, and the field of a metric that has its value.
TYPES = {
    0: ("counter", "counter"),
    1: ("gauge", "gauge"),
    2: ("summary", "summary"),
    3: ("unknown", "untyped"),
    4: ("histogram", "histogram"),
    5: ("gaugehistogram", "histogram"),
}

# Since prometheus_client 0.21, and 0.23.
_HAS_NATIVE = hasattr(client, "NativeHistogram")
_HAS_EXEMPLARS = _HAS_NATIVE and "nh_exemplars" in client.NativeHistogram._fields


def protobuf_to_metric_families(body: bytes, *, strict: bool = True) -> Iterator[MetricFamily]:
    """Yield the families of delimited messages.

    Counters and their created times are samples as in the text formats; native histograms are
    samples by the family's name, before the classic ones. Times are in seconds. Not strict, it ends
    before the first message that is damaged. Raises ParseError, with a byte for its column.
    """
    at, end = 0, len(body)
    try:
        while at < end:
            length, start = varint(body, at, end)
            if length > end - start:
                reason = "unexpected end of input stream"
                expected = f"{length} bytes of a message, where there are {end - start}"
                raise ParseError(reason, None, at + 1, expected)
            at = start + length
            yield _family(message(body, (start, at), FAMILY), start)
    except ParseError:
        if strict:
            raise


def _family(found: Message, at: int) -> MetricFamily:
    name, number = found.get("name", ""), found.get("type", 0)
    if not name:
        raise ParseError("invalid metric name", None, at + 1, "a family with a name")
    if number not in TYPES:
        expected = f"a number from 0 to {max(TYPES)}"
        raise ParseError(f"unknown metric type {number}", None, at + 1, expected)
    kind, field = TYPES[number]
    name = name.removesuffix("_total") if kind == "counter" else name
    family = MetricFamily("a", found.get("help", ""), kind)
    family.name, family.unit = name, found.get("unit", "")
    try:
        for metric in found.get("metric", ()):
            time = metric["time"] / 1000 if "time" in metric else None
            family.samples += samples_of(name, kind, metric, metric.get(field, {}), time)
    except ValueError as error:
        raise ParseError(str(error), None, at + 1) from error
    return family


def samples_of(
    name: str, kind: str, metric: Message, value: Message, time: Any
) -> Iterator[Sample]:
    """Yield the samples of a metric that has a value of its kind. Raises ValueError."""
    labels = _labels(metric)
    is_native = kind.endswith("histogram") and _HAS_NATIVE and _is_native(value)
    if is_native:
        yield Sample(name, labels, None, time, None, _native(value))  # type: ignore[arg-type]
    if not is_native or "bucket" in value:
        for ending, inner, number, exemplar in PARTS[kind](value):
            yield Sample(name + ending, {**labels, **inner}, number, time, exemplar)
    if "created" in value:
        yield Sample(f"{name}_created", dict(labels), float(_timestamp(value["created"])))


def _labels(found: Message) -> dict[str, str]:
    pairs = found.get("label", ())
    labels = {one.get("name", ""): one.get("value", "") for one in pairs}
    if len(labels) < len(pairs) or "" in labels:
        raise ValueError("duplicate label names, or one without a name")
    return labels


def _timestamp(found: Message) -> Timestamp:
    return Timestamp(found.get("seconds", 0), found.get("nanos", 0))


def _exemplar(found: Message | None) -> Exemplar | None:
    if found is None:
        return None
    time = _timestamp(found["timestamp"]) if "timestamp" in found else None
    return Exemplar(_labels(found), found.get("value", 0.0), time)


def _count(found: Message, name: str) -> float:
    """Return a count, which may be a float in a field of its own."""
    count: float = found.get(f"{name}_float", 0.0)
    return count if count > 0 else found.get(name, 0)


# The ending of a sample's name, a label of its own, its value and exemplar.
Part = tuple[str, dict[str, str], float, Exemplar | None]


def _number(value: Message) -> Iterator[Part]:
    yield "", {}, value.get("value", 0.0), None


def _info(value: Message) -> Iterator[Part]:
    yield "_info", {}, value.get("value", 0.0), None


def _counter(value: Message) -> Iterator[Part]:
    yield "_total", {}, value.get("value", 0.0), _exemplar(value.get("exemplar"))


def _summary(value: Message) -> Iterator[Part]:
    for one in value.get("quantile", ()):
        bound = {"quantile": shown(one.get("bound", 0.0))}
        yield "", bound, one.get("value", 0.0), None
    yield "_count", {}, value.get("count", 0), None
    yield "_sum", {}, value.get("sum", 0.0), None


def _histogram(value: Message, gauge: str = "") -> Iterator[Part]:
    bound = None
    count = _count(value, "count")
    for one in value.get("bucket", ()):
        bound = one.get("bound", 0.0)
        exemplar = _exemplar(one.get("exemplar"))
        yield "_bucket", {"le": shown(bound)}, _count(one, "count"), exemplar
    if bound != inf:
        yield "_bucket", {"le": "+Inf"}, count, None
    yield f"_{gauge}count", {}, count, None
    yield f"_{gauge}sum", {}, value.get("sum", 0.0), None


PARTS: dict[str, Callable[[Message], Iterator[Part]]] = {
    "counter": _counter,
    "gauge": _number,
    "summary": _summary,
    "unknown": _number,
    "info": _info,
    "stateset": _number,
    "histogram": _histogram,
    "gaugehistogram": partial(_histogram, gauge="g"),
}


def _is_native(value: Message) -> bool:
    """Tell whether a histogram has native buckets, as Prometheus does."""
    spans = "positive_span" in value or "negative_span" in value
    return spans or value.get("zero_threshold", 0) > 0 or _count(value, "zero_count") > 0


def _native(value: Message) -> Any:
    exemplars = [_exemplar(one) for one in value.get("exemplar", ())]
    # prometheus_client has exemplars of native histograms since 0.23.
    more: dict[str, Any] = {"nh_exemplars": exemplars} if exemplars and _HAS_EXEMPLARS else {}
    return client.NativeHistogram(
        _count(value, "count"),
        value.get("sum", 0.0),
        value.get("schema", 0),
        value.get("zero_threshold", 0.0),
        _count(value, "zero_count"),
        _spans(value.get("positive_span", ())),
        _spans(value.get("negative_span", ())),
        _deltas(value, "positive"),
        _deltas(value, "negative"),
        **more,
    )


def _spans(found: Sequence[Message]) -> tuple[Any, ...] | None:
    """Return spans; one of nothing only says that the histogram is native."""
    spans = [(one.get("offset", 0), one.get("length", 0)) for one in found]
    return tuple(client.BucketSpan(*one) for one in spans) if any(map(any, spans)) else None


def _deltas(value: Message, side: str) -> tuple[Any, ...] | None:
    """Return the differences of counts, which are floats where the counts are."""
    counts = value.get(f"{side}_count")
    if counts:
        return (counts[0], *(after - before for before, after in pairwise(counts)))
    deltas = value.get(f"{side}_delta")
    return tuple(deltas) if deltas else None
