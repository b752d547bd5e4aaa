"""`io/prometheus/client/metrics.proto`, as a descriptor that is made here: for real decoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

PACKAGE = "io.prometheus.client"
# Fields: their number, name, and type; a star is for repeated ones.
MESSAGES = {
    "LabelPair": "1 name string, 2 value string",
    "Gauge": "1 value double",
    "Counter": "1 value double, 2 exemplar Exemplar, 3 created_timestamp Timestamp",
    "Quantile": "1 quantile double, 2 value double",
    "Summary": (
        "1 sample_count uint64, 2 sample_sum double, 3 quantile *Quantile,"
        "4 created_timestamp Timestamp"
    ),
    "Untyped": "1 value double",
    "Histogram": (
        "1 sample_count uint64, 4 sample_count_float double, 2 sample_sum double, 3 bucket *Bucket,"
        "15 created_timestamp Timestamp, 5 schema sint32, 6 zero_threshold double,"
        "7 zero_count uint64, 8 zero_count_float double, 9 negative_span *BucketSpan,"
        "10 negative_delta *sint64, 11 negative_count *double, 12 positive_span *BucketSpan,"
        "13 positive_delta *sint64, 14 positive_count *double, 16 exemplars *Exemplar"
    ),
    "Bucket": (
        "1 cumulative_count uint64, 4 cumulative_count_float double, 2 upper_bound double,"
        "3 exemplar Exemplar"
    ),
    "BucketSpan": "1 offset sint32, 2 length uint32",
    "Exemplar": "1 label *LabelPair, 2 value double, 3 timestamp Timestamp",
    "Metric": (
        "1 label *LabelPair, 2 gauge Gauge, 3 counter Counter, 4 summary Summary,"
        "5 untyped Untyped, 7 histogram Histogram, 6 timestamp_ms int64"
    ),
    "MetricFamily": (
        "1 name string, 2 help string, 3 type MetricType, 4 metric *Metric, 5 unit string"
    ),
}
TYPES = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]


def _descriptor() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=PACKAGE, syntax="proto2"
    )
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    kinds = file.enum_type.add(name="MetricType")
    for number, name in enumerate(TYPES):
        kinds.value.add(name=name, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(","):
            _add(message, *field.split())
    return file


def _add(message: Any, number: str, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    if kind == "Timestamp":
        field.type, field.type_name = field.TYPE_MESSAGE, ".google.protobuf.Timestamp"
    elif kind == "MetricType":
        field.type, field.type_name = field.TYPE_ENUM, f".{PACKAGE}.{kind}"
    elif kind in MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
_pool.Add(_descriptor())
MetricFamily: Any = message_factory.GetMessageClass(
    _pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily")
)


def decode(body: bytes) -> Iterator[Any]:
    """Yield the delimited messages of a body; fail for fields that nobody knows."""
    at = 0
    while at < len(body):
        length = shift = 0
        while True:
            byte, at = body[at], at + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        family = MetricFamily.FromString(body[at : at + length])
        size = family.ByteSize()
        family.DiscardUnknownFields()
        assert family.ByteSize() == size
        yield family
        at += length
    assert at == len(body)


def samples(family: Any) -> list[tuple[Any, ...]]:
    """Return what a decoded family has as classic samples, numbers as texts."""
    found: list[tuple[Any, ...]] = []
    for metric in family.metric:
        labels = [(pair.name, pair.value) for pair in metric.label]
        time = metric.timestamp_ms if metric.HasField("timestamp_ms") else None
        for name, inner, value in _values(family, metric):
            found.append((name, sorted([*labels, *inner]), repr(float(value)), time))
    return found


def _values(family: Any, metric: Any) -> Iterator[tuple[str, list[tuple[str, str]], float]]:
    kind, name = TYPES[family.type].lower(), family.name
    if kind in ("counter", "gauge", "untyped"):
        yield name, [], getattr(metric, kind).value
    elif kind == "summary":
        for one in metric.summary.quantile:
            yield name, [("quantile", repr(one.quantile))], one.value
        yield f"{name}_count", [], metric.summary.sample_count
        yield f"{name}_sum", [], metric.summary.sample_sum
    else:
        g = "g" if kind == "gauge_histogram" else ""
        histogram = metric.histogram
        for bucket in histogram.bucket:
            count = bucket.cumulative_count_float or bucket.cumulative_count
            yield f"{name}_bucket", [("le", repr(bucket.upper_bound))], count
        yield f"{name}_{g}count", [], histogram.sample_count_float or histogram.sample_count
        yield f"{name}_{g}sum", [], histogram.sample_sum
