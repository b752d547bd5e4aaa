"""Pushed protocol buffers: delimited messages of `io.prometheus.client.MetricFamily`.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any

from prom_middleware.pushgateway.bodies.errors import BodyError
from prom_middleware.pushgateway.families import (
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SIMPLE,
    SUMMARY,
    TYPES,
    Distribution,
    Family,
    Foreign,
    Metric,
)

_double = Struct("<d").unpack_from
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# The field of a metric that has its value, by the family's type.
VALUES = {"GAUGE": 2, "COUNTER": 3, SUMMARY: 4, "UNTYPED": 5, HISTOGRAM: 7, GAUGE_HISTOGRAM: 7}
_TIMESTAMP = 6


def parse_protobuf(body: bytes) -> list[Family]:
    """Return the families of a body; the last one of a name wins. Raises BodyError."""
    families = {}
    for message in _messages(body):
        family = _family(message)
        families[family.name] = family
    return [family for family in families.values() if family.metrics]


def _messages(body: bytes) -> Iterator[memoryview]:
    place, view = 0, memoryview(body)
    while place < len(body):
        length, place = _varint(view, place)
        if place + length > len(body):
            raise BodyError("unexpected EOF")
        yield view[place : place + length]
        place += length


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise BodyError("unexpected EOF")
        byte = view[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (2**64 - 1), place
    raise _malformed()


def _malformed() -> BodyError:
    # The blank is what Go's library has there in some builds, so that nobody compares its texts.
    return BodyError("proto:\N{NO-BREAK SPACE}cannot parse invalid wire-format data")


def _fields(view: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield a message's fields: their numbers, wire types and contents."""
    place = 0
    try:
        while place < len(view):
            key, place = _varint(view, place)
            number, kind = key >> 3, key & 7
            content, place = _content(view, place, kind)
            if not number:
                raise _malformed()
            yield number, kind, content
    except BodyError:
        raise _malformed() from None


def _content(view: memoryview, place: int, kind: int) -> tuple[Any, int]:
    if kind == _VARINT:
        return _varint(view, place)
    if kind == _BYTES:
        length, place = _varint(view, place)
    elif kind in (_FIXED64, _FIXED32):
        length = 8 if kind == _FIXED64 else 4
    else:
        raise _malformed()
    if place + length > len(view):
        raise _malformed()
    return view[place : place + length], place + length


def _family(message: memoryview) -> Family:
    found: dict[tuple[int, int], Any] = {}
    metrics = []
    for number, kind, content in _fields(message):
        if (number, kind) == (4, _BYTES):
            metrics.append(content)
        else:
            found[number, kind] = content
    type_number = found.get((3, _VARINT), 0)
    if type_number >= len(TYPES):
        raise BodyError(f"unknown metric type {type_number}")
    type_ = TYPES[type_number]
    documentation = found.get((2, _BYTES))
    return Family(
        _string(found.get((1, _BYTES), b"")),
        type_,
        None if documentation is None else _string(documentation),
        [_metric(content, type_) for content in metrics],
    )


def _string(content: Any) -> str:
    """Return a string; what is not UTF-8 comes as lone surrogates, for the checks to find."""
    return bytes(content).decode("utf-8", "surrogateescape")


def _metric(message: memoryview, type_: str) -> Metric:
    labels, value, has_timestamp = [], None, False
    found: dict[int, Any] = {}
    for number, kind, content in _fields(message):
        if (number, kind) == (1, _BYTES):
            pair = {one: text for one, form, text in _fields(content) if form == _BYTES}
            labels.append((_string(pair.get(1, b"")), _string(pair.get(2, b""))))
        elif number == _TIMESTAMP:
            has_timestamp = True
        elif kind == _BYTES:
            found[number] = content
    content = found.get(VALUES[type_])
    value, kept = _foreign(found) if content is None else _value(content, type_)
    return Metric(tuple(labels), value, kept, has_timestamp)


def _foreign(found: Mapping[int, Any]) -> tuple[Foreign, None]:
    """Return the value that there is instead of the family's."""
    for type_, number in VALUES.items():
        if number in found:
            return Foreign(type_, _value(found[number], type_)[0]), None
    return Foreign(), None


def _value(message: memoryview, type_: str) -> tuple[Any, bytes | None]:
    """Return a metric's value, and its message where the value is not all of it."""
    if type_ in SIMPLE:
        value = 0.0
        for number, kind, content in _fields(message):
            if (number, kind) == (1, _FIXED64):
                (value,) = _double(content)
        return value, None if len(message) in (0, 9) else bytes(message)
    distribution, plain = _distribution(message, type_)
    return distribution, None if plain else bytes(message)


def _distribution(message: memoryview, type_: str) -> tuple[Distribution, bool]:
    count, total, points, plain = 0.0, 0.0, [], True
    for number, kind, content in _fields(message):
        if (number, kind) == (1, _VARINT):
            count = content
        elif (number, kind) == (2, _FIXED64):
            (total,) = _double(content)
        elif (number, kind) == (3, _BYTES):
            point, plain_point = _quantile(content) if type_ == SUMMARY else _bucket(content)
            points.append(point)
            plain = plain and plain_point
        elif (number, kind, type_ == SUMMARY) == (4, _FIXED64, False):
            plain = False
            (floating,) = _double(content)
            count = floating if floating > 0 else count
        else:
            plain = False
    return Distribution(count, total, tuple(points)), plain


def _quantile(message: memoryview) -> tuple[tuple[float, float], bool]:
    found = {1: 0.0, 2: 0.0}
    for number, kind, content in _fields(message):
        if kind == _FIXED64:
            found[number] = _double(content)[0]
    return (found[1], found[2]), True


def _bucket(message: memoryview) -> tuple[tuple[float, float], bool]:
    count, bound, plain = 0.0, 0.0, True
    for number, kind, content in _fields(message):
        if (number, kind) == (1, _VARINT):
            count = content
        elif (number, kind) == (2, _FIXED64):
            (bound,) = _double(content)
        else:
            plain = False
            if (number, kind) == (4, _FIXED64) and _double(content)[0] > 0:
                (count,) = _double(content)
    return (bound, count), plain
