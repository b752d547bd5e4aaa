"""Pushed protocol buffers: delimited messages of `io.prometheus.client.MetricFamily`.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto

A field of another wire type than the protocol's is left out, as Go's library does it. What only
scrapers in protocol buffers are told, such as exemplars and native histograms, is kept as it came,
and looked through: a scraper that cannot read one message of a page has nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prom_middleware.errors import ParseError
from prom_middleware.exposition.formats.wire_reader import double_at, fields, varint
from prom_middleware.parser.messages import HISTOGRAM as HISTOGRAM_FIELDS
from prom_middleware.parser.messages import message
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

# The field of a metric that has its value, by the family's type.
VALUES = {"GAUGE": 2, "COUNTER": 3, SUMMARY: 4, "UNTYPED": 5, HISTOGRAM: 7, GAUGE_HISTOGRAM: 7}
_TIMESTAMP = 6
# A message with a double and nothing else, or with nothing at all: bytes.
_ONLY_A_DOUBLE = (0, 9)

# What messages are in those that are kept, by the fields' numbers; or numbers in one field.
_VARINTS, _DOUBLES = object(), object()
_FLAT: Mapping[int, Any] = {}
_EXEMPLAR = {1: _FLAT, 3: _FLAT}
_INNER: dict[str, Mapping[int, Any]] = {
    "COUNTER": {2: _EXEMPLAR, 3: _FLAT},
    SUMMARY: {3: _FLAT, 4: _FLAT},
    HISTOGRAM: {
        3: {3: _EXEMPLAR},
        9: _FLAT,
        10: _VARINTS,
        11: _DOUBLES,
        12: _FLAT,
        13: _VARINTS,
        14: _DOUBLES,
        15: _FLAT,
        16: _EXEMPLAR,
    },
}
_INNER[GAUGE_HISTOGRAM] = _INNER[HISTOGRAM]

# From where to where a message is.
_Span = tuple[int, int]


def parse_protobuf(body: bytes) -> list[Family]:
    """Return the families of a body; the last one of a name wins. Raises BodyError."""
    found = {}
    for span in _messages(body):
        try:
            family = _family(body, span)
        except ParseError:
            # The blank is what Go's library has there in some builds, lest texts are compared.
            problem = "proto:\N{NO-BREAK SPACE}cannot parse invalid wire-format data"
            raise BodyError(problem) from None
        found[family.name] = family
    return [family for family in found.values() if family.metrics]


def _messages(body: bytes) -> Iterator[_Span]:
    at, end = 0, len(body)
    while at < end:
        try:
            length, at = varint(body, at, end)
        except ParseError:
            raise BodyError("unexpected EOF") from None
        if length > end - at:
            raise BodyError("unexpected EOF")
        yield at, at + length
        at += length


def _family(body: bytes, span: _Span) -> Family:
    found: dict[tuple[int, type], Any] = {}
    metrics = []
    for number, _, value in fields(body, *span):
        if number == 4 and isinstance(value, tuple):
            metrics.append(value)
        else:
            found[number, type(value)] = value
    type_number = found.get((3, int), 0)
    if type_number >= len(TYPES):
        raise BodyError(f"unknown metric type {type_number}")
    type_, documentation = TYPES[type_number], found.get((2, tuple))
    return Family(
        _string(body, found.get((1, tuple))),
        type_,
        None if documentation is None else _string(body, documentation),
        [_metric(body, metric, type_) for metric in metrics],
    )


def _string(body: bytes, span: _Span | None) -> str:
    """Return a string; what is not UTF-8 comes as lone surrogates, for the checks to find."""
    return body[slice(*span)].decode("utf-8", "surrogateescape") if span else ""


def _metric(body: bytes, span: _Span, type_: str) -> Metric:
    labels, has_timestamp = [], False
    found: dict[int, _Span] = {}
    for number, _, value in fields(body, *span):
        if number == _TIMESTAMP:
            has_timestamp = True
        elif number == 1 and isinstance(value, tuple):
            labels.append(_label(body, value))
        elif isinstance(value, tuple):
            found[number] = value
    content = found.get(VALUES[type_])
    value_, kept = _foreign(body, found) if content is None else _value(body, content, type_)
    return Metric(tuple(labels), value_, kept, has_timestamp)


def _label(body: bytes, span: _Span) -> tuple[str, str]:
    found = {one: value for one, _, value in fields(body, *span) if isinstance(value, tuple)}
    return _string(body, found.get(1)), _string(body, found.get(2))


def _foreign(body: bytes, found: Mapping[int, _Span]) -> tuple[Foreign, None]:
    """Return the value that there is instead of the family's."""
    for type_, number in VALUES.items():
        if number in found:
            return Foreign(type_, _value(body, found[number], type_)[0]), None
    return Foreign(), None


def _value(body: bytes, span: _Span, type_: str) -> tuple[Any, bytes | None]:
    """Return a metric's value, and its message where the value is not all of it."""
    if type_ in SIMPLE:
        value: Any = _doubles(body, span).get(1, 0.0)
        is_all = span[1] - span[0] in _ONLY_A_DOUBLE
    else:
        value, is_all = _distribution(body, span, type_)
    if is_all:
        return value, None
    _look_through(body, span, _INNER.get(type_, _FLAT))
    if type_ in (HISTOGRAM, GAUGE_HISTOGRAM):
        _check_spans(body, span)
    return value, body[slice(*span)]


def _look_through(body: bytes, span: _Span, inner: Any) -> None:
    """Read all messages in one; raise ParseError for the first that is none."""
    at, end = span
    if inner is _VARINTS:
        while at < end:
            _, at = varint(body, at, end)
    elif inner is _DOUBLES:
        for place in range(at, end, 8):
            double_at(body, place, end)
    else:
        for number, _, value in fields(body, at, end):
            if number in inner and isinstance(value, tuple):
                _look_through(body, value, inner[number])


def _check_spans(body: bytes, span: _Span) -> None:
    """Raise BodyError for a native histogram that has more or fewer buckets than it says where."""
    try:
        found = message(body, span, HISTOGRAM_FIELDS)
    except ParseError:  # of another wire type: nobody reads that
        return
    for side in ("negative", "positive"):
        wanted = sum(one.get("length", 0) for one in found.get(f"{side}_span", ()))
        there = len(found.get(f"{side}_delta") or found.get(f"{side}_count") or ())
        if wanted != there:
            raise BodyError(f"{side} side: spans need {wanted} buckets, have {there} buckets")


def _doubles(body: bytes, span: _Span) -> dict[int, float]:
    return {one: value for one, _, value in fields(body, *span) if isinstance(value, float)}


def _distribution(body: bytes, span: _Span, type_: str) -> tuple[Distribution, bool]:
    """Return a summary or histogram, and whether that is all of it."""
    count, total, points, is_all = 0.0, 0.0, [], True
    for number, _, value in fields(body, *span):
        if number == 1 and isinstance(value, int):
            count = value
        elif number == 2 and isinstance(value, float):
            total = value
        elif number == 3 and isinstance(value, tuple):
            point, is_all_of_it = (_quantile if type_ == SUMMARY else _bucket)(body, value)
            points.append(point)
            is_all = is_all and is_all_of_it
        else:
            is_all = False
            if number == 4 and isinstance(value, float) and value > 0:
                count = value
    return Distribution(count, total, tuple(points)), is_all


def _quantile(body: bytes, span: _Span) -> tuple[tuple[float, float], bool]:
    found = _doubles(body, span)
    return (found.get(1, 0.0), found.get(2, 0.0)), True


def _bucket(body: bytes, span: _Span) -> tuple[tuple[float, float], bool]:
    count, bound, is_all = 0.0, 0.0, True
    for number, _, value in fields(body, *span):
        if number == 1 and isinstance(value, int):
            count = value
        elif number == 2 and isinstance(value, float):
            bound = value
        else:
            is_all = False
            if number == 4 and isinstance(value, float) and value > 0:
                count = value
    return (bound, count), is_all
