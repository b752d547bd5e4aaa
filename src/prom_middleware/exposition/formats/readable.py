"""Prometheus' protocol buffers as text, for people: https://protobuf.dev/reference/protobuf/textformat-spec/

What is shown is what a scraper would get, message by message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isnan
from typing import Any, NamedTuple

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.formats import protobuf
from prom_middleware.exposition.formats.wire_reader import fields, int64, signed, varint

TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")


class Field(NamedTuple):
    """A field's name, and what makes text of its value; or the fields that it has itself."""

    name: str
    show: Callable[[Any], str] | None = None
    inner: Mapping[int, Field] = {}


def _double(value: float) -> str:
    if isnan(value):
        return "nan"
    return repr(value).removesuffix(".0")


def _text(value: bytes) -> str:
    escaped = value.decode().replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def _signed(value: int) -> str:
    return str(signed(value))


def _int64(value: int) -> str:
    return str(int64(value))


def _type(value: int) -> str:
    return TYPES[value]


TIMESTAMP = {1: Field("seconds", _int64), 2: Field("nanos", _int64)}
LABEL = {1: Field("name", _text), 2: Field("value", _text)}
VALUE = {1: Field("value", _double)}
EXEMPLAR = {
    1: Field("label", inner=LABEL),
    2: Field("value", _double),
    3: Field("timestamp", inner=TIMESTAMP),
}
COUNTER = {
    1: Field("value", _double),
    2: Field("exemplar", inner=EXEMPLAR),
    3: Field("created_timestamp", inner=TIMESTAMP),
}
QUANTILE = {1: Field("quantile", _double), 2: Field("value", _double)}
SUMMARY = {
    1: Field("sample_count", str),
    2: Field("sample_sum", _double),
    3: Field("quantile", inner=QUANTILE),
    4: Field("created_timestamp", inner=TIMESTAMP),
}
BUCKET = {
    1: Field("cumulative_count", str),
    2: Field("upper_bound", _double),
    3: Field("exemplar", inner=EXEMPLAR),
    4: Field("cumulative_count_float", _double),
}
SPAN = {1: Field("offset", _signed), 2: Field("length", str)}
HISTOGRAM = {
    1: Field("sample_count", str),
    2: Field("sample_sum", _double),
    3: Field("bucket", inner=BUCKET),
    4: Field("sample_count_float", _double),
    5: Field("schema", _signed),
    6: Field("zero_threshold", _double),
    7: Field("zero_count", str),
    8: Field("zero_count_float", _double),
    9: Field("negative_span", inner=SPAN),
    10: Field("negative_delta", _signed),
    11: Field("negative_count", _double),
    12: Field("positive_span", inner=SPAN),
    13: Field("positive_delta", _signed),
    14: Field("positive_count", _double),
    15: Field("created_timestamp", inner=TIMESTAMP),
    16: Field("exemplars", inner=EXEMPLAR),
}
METRIC = {
    1: Field("label", inner=LABEL),
    2: Field("gauge", inner=VALUE),
    3: Field("counter", inner=COUNTER),
    4: Field("summary", inner=SUMMARY),
    5: Field("untyped", inner=VALUE),
    6: Field("timestamp_ms", _int64),
    7: Field("histogram", inner=HISTOGRAM),
}
FAMILY = {
    1: Field("name", _text),
    2: Field("help", _text),
    3: Field("type", _type),
    4: Field("metric", inner=METRIC),
    5: Field("unit", _text),
}


def family(family: MetricFamily, scheme: str) -> Iterator[bytes]:
    """Yield the slices of one family, or of what stands for it in protobuf."""
    # A slice has whole fields; before the first one of a message is the message's length.
    left = 0
    for slice_ in protobuf.family(family, scheme):
        start = 0
        if slice_ and not left:
            left, start = varint(slice_, 0, len(slice_))
        left -= len(slice_) - start
        lines = "".join(_lines(slice_, start, len(slice_), FAMILY, ""))
        yield (lines if left or not lines else f"{lines}\n").encode()


def _lines(
    body: bytes, at: int, end: int, known: Mapping[int, Field], indent: str
) -> Iterator[str]:
    for number, _, value in fields(body, at, end):
        field = known[number]
        if field.show is None and isinstance(value, tuple):
            inner = "".join(_lines(body, *value, field.inner, f"{indent}  "))
            yield f"{indent}{field.name} {{\n{inner}{indent}}}\n"
        elif field.show is not None:
            shown = body[slice(*value)] if isinstance(value, tuple) else value
            yield f"{indent}{field.name}: {field.show(shown)}\n"
