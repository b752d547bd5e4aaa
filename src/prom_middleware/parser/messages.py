"""The messages of `io.prometheus.client`, as dictionaries of what is in them.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prom_middleware.exposition.formats.wire_reader import (
    Value,
    damaged,
    double_at,
    fields,
    int64,
    signed,
    varint,
)

Message = dict[str, Any]


class Field(NamedTuple):
    """A field: its name, what reads its value, and whether there may be many of it."""

    name: str
    read: Callable[[bytes, int, Value], Any]
    many: bool = False


Fields = Mapping[int, Field]


def message(body: bytes, span: tuple[int, int], known: Fields) -> Message:
    """Return the fields of a message; those that nobody knows are left out. Raises ParseError."""
    found: Message = {}
    for number, start, value in fields(body, *span):
        field = known.get(number)
        if field is None:
            continue
        if not field.many:
            found[field.name] = field.read(body, start, value)
        elif isinstance(value, tuple) and field.read in _PACKED:
            found.setdefault(field.name, []).extend(_packed(body, value, field.read))
        else:
            found.setdefault(field.name, []).append(field.read(body, start, value))
    return found


def _packed(body: bytes, span: tuple[int, int], read: Any) -> list[Any]:
    """Return numbers that stand in one field, which every reader has to take as well."""
    at, end = span
    found: list[Any] = []
    while at < end:
        if read is _double:
            found.append(double_at(body, at, end))
            at += 8
        else:
            value, at = varint(body, at, end)
            found.append(read(body, at, value))
    return found


def _text(body: bytes, start: int, value: Value) -> str:
    at, end = _span(body, start, value)
    try:
        return body[at:end].decode()
    except UnicodeDecodeError as error:
        raise damaged(at + error.start, "text in UTF-8") from error


def _span(body: bytes, start: int, value: Value) -> tuple[int, int]:
    if not isinstance(value, tuple):
        raise damaged(start, "a text or a message")
    return value


def _double(body: bytes, start: int, value: Value) -> float:
    if not isinstance(value, float):
        raise damaged(start, "a double")
    return value


def _unsigned(body: bytes, start: int, value: Value) -> int:
    if not isinstance(value, int):
        raise damaged(start, "an integer")
    return value


def _signed(body: bytes, start: int, value: Value) -> int:
    return signed(_unsigned(body, start, value))


def _int64(body: bytes, start: int, value: Value) -> int:
    return int64(_unsigned(body, start, value))


_PACKED = frozenset((_double, _unsigned, _signed, _int64))


def _message(known: Fields) -> Callable[[bytes, int, Value], Message]:
    return lambda body, start, value: message(body, _span(body, start, value), known)


TIMESTAMP: Fields = {1: Field("seconds", _int64), 2: Field("nanos", _int64)}
LABEL: Fields = {1: Field("name", _text), 2: Field("value", _text)}
VALUE: Fields = {1: Field("value", _double)}
EXEMPLAR: Fields = {
    1: Field("label", _message(LABEL), many=True),
    2: Field("value", _double),
    3: Field("timestamp", _message(TIMESTAMP)),
}
COUNTER: Fields = {
    1: Field("value", _double),
    2: Field("exemplar", _message(EXEMPLAR)),
    3: Field("created", _message(TIMESTAMP)),
}
QUANTILE: Fields = {1: Field("bound", _double), 2: Field("value", _double)}
SUMMARY: Fields = {
    1: Field("count", _unsigned),
    2: Field("sum", _double),
    3: Field("quantile", _message(QUANTILE), many=True),
    4: Field("created", _message(TIMESTAMP)),
}
BUCKET: Fields = {
    1: Field("count", _unsigned),
    2: Field("bound", _double),
    3: Field("exemplar", _message(EXEMPLAR)),
    4: Field("count_float", _double),
}
SPAN: Fields = {1: Field("offset", _signed), 2: Field("length", _unsigned)}
HISTOGRAM: Fields = {
    1: Field("count", _unsigned),
    2: Field("sum", _double),
    3: Field("bucket", _message(BUCKET), many=True),
    4: Field("count_float", _double),
    5: Field("schema", _signed),
    6: Field("zero_threshold", _double),
    7: Field("zero_count", _unsigned),
    8: Field("zero_count_float", _double),
    9: Field("negative_span", _message(SPAN), many=True),
    10: Field("negative_delta", _signed, many=True),
    11: Field("negative_count", _double, many=True),
    12: Field("positive_span", _message(SPAN), many=True),
    13: Field("positive_delta", _signed, many=True),
    14: Field("positive_count", _double, many=True),
    15: Field("created", _message(TIMESTAMP)),
    16: Field("exemplar", _message(EXEMPLAR), many=True),
}
METRIC: Fields = {
    1: Field("label", _message(LABEL), many=True),
    2: Field("gauge", _message(VALUE)),
    3: Field("counter", _message(COUNTER)),
    4: Field("summary", _message(SUMMARY)),
    5: Field("untyped", _message(VALUE)),
    6: Field("time", _int64),
    7: Field("histogram", _message(HISTOGRAM)),
}
FAMILY: Fields = {
    1: Field("name", _text),
    2: Field("help", _text),
    3: Field("type", _unsigned),
    4: Field("metric", _message(METRIC), many=True),
    5: Field("unit", _text),
}
