"""Families as a scraper gets them: text 0.0.4, or delimited protocol buffers.

These are the two formats of the original. Everything here is about one metric of one family: who
puts them together keeps the bytes of what has not changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from prom_middleware.exposition.accept import ranges
from prom_middleware.exposition.formats.escaping import (
    ALLOW_UTF_8,
    SCHEMES,
    UNDERSCORES,
    escape_label_name,
    escape_metric_name,
    escape_value,
    is_classic,
    quote,
    quoted_label_name,
    quoted_metric_name,
)
from prom_middleware.exposition.formats.wire import double, message, text, unsigned, varint
from prom_middleware.pushgateway.bodies.protobuf import VALUES
from prom_middleware.pushgateway.families import (
    SIMPLE,
    SUMMARY,
    TYPES,
    Distribution,
    Family,
    Foreign,
    Labels,
    Metric,
)
from prom_middleware.pushgateway.numbers import go_float

_PROTOBUF, _MESSAGE = "application/vnd.google.protobuf", "io.prometheus.client.MetricFamily"
_INFINITY = float("inf")


class Form(NamedTuple):
    """One of the forms that a scraper can have; `scheme` is for names that are not classic."""

    is_protobuf: bool = False
    scheme: str = UNDERSCORES

    @property
    def content_type(self) -> str:
        """Return what to announce."""
        if self.is_protobuf:
            return f"{_PROTOBUF}; proto={_MESSAGE}; encoding=delimited; escaping={self.scheme}"
        return f"text/plain; version=0.0.4; charset=utf-8; escaping={self.scheme}"


# As it is stored: with all that was pushed.
WHOLE = Form(is_protobuf=True, scheme=ALLOW_UTF_8)


def negotiate(accept: str) -> Form:
    """Return the form for an Accept header, by the rules of the original: text for all else."""
    scheme = UNDERSCORES
    for asked in sorted(ranges(accept), key=lambda one: -one.weight):
        wanted = asked.parameters.get("escaping", "")
        scheme = wanted if wanted in SCHEMES else scheme
        if asked.name == _PROTOBUF and asked.parameters.get("proto") == _MESSAGE:
            if asked.parameters.get("encoding") == "delimited":
                return Form(True, scheme)
        elif asked.name == "text/plain" and asked.parameters.get("version", "0.0.4") == "0.0.4":
            break
    return Form(False, scheme)


def head(name: str, type_: str, documentation: str | None, form: Form) -> bytes:
    """Return what stands before a family's metrics."""
    name = escape_metric_name(name, form.scheme)
    if form.is_protobuf:
        said = b"" if documentation is None else text(2, documentation)
        return text(1, name) + said + unsigned(3, TYPES.index(type_))
    shown = quoted_metric_name(name)
    help_line = "" if documentation is None else f"# HELP {shown} {_escaped_help(documentation)}\n"
    return f"{help_line}# TYPE {shown} {type_.lower()}\n".encode()


def joined(first: bytes, metrics: bytes, form: Form) -> list[bytes]:
    """Return the parts of a family, of its head and its metrics."""
    if not form.is_protobuf:
        return [first, metrics]
    return [varint(len(first) + len(metrics)) + first, metrics]


def metric_bytes(name: str, type_: str, metric: Metric, form: Form) -> bytes:
    """Return one metric of the family `name`."""
    if form.is_protobuf:
        return message(4, _encoded(type_, metric, form.scheme))
    start, end = _brackets(name, metric.labels, form.scheme)
    if type_ in SIMPLE:
        return f"{start}{end} {go_float(metric.value)}\n".encode()
    return "".join(_distribution_lines(name, type_, metric, form.scheme)).encode()


def encoded_family(family: Family) -> bytes:
    """Return a family as it is stored."""
    metrics = [metric_bytes(family.name, family.type, one, WHOLE) for one in family.metrics]
    first = head(family.name, family.type, family.help, WHOLE)
    return b"".join(joined(first, b"".join(metrics), WHOLE))


def _escaped_help(documentation: str) -> str:
    return documentation.replace("\\", r"\\").replace("\n", r"\n")


def _brackets(name: str, labels: Labels, scheme: str) -> tuple[str, str]:
    """Return a sample's name and labels up to the place of another label, and what closes them."""
    name = escape_metric_name(name, scheme)
    pairs = [
        f'{quoted_label_name(escape_label_name(key, scheme))}="{escape_value(value)}"'
        for key, value in labels
    ]
    if not is_classic(name):
        return "{" + ",".join([quote(name), *pairs]), "}"
    return (f"{name}{{{','.join(pairs)}", "}") if pairs else (name, "")


def _distribution_lines(name: str, type_: str, metric: Metric, scheme: str) -> Iterable[str]:
    value: Distribution = metric.value
    inner, ending = ("quantile", "") if type_ == SUMMARY else ("le", "_bucket")
    # The whole name is escaped, and endings are put to it as they are.
    whole = escape_metric_name(name, scheme)
    start, end = _brackets(whole + ending, metric.labels, scheme)
    points = list(value.points)
    if type_ != SUMMARY and all(bound != _INFINITY for bound, _ in points):
        points.append((_INFINITY, value.count))
    for bound, number in points:
        yield f'{start},{inner}="{go_float(bound)}"{end} {go_float(number)}\n'
    for ending_, number in (("_sum", value.sum), ("_count", value.count)):
        start, end = _brackets(whole + ending_, metric.labels, scheme)
        yield f"{start}{end} {go_float(number)}\n"


def _encoded(type_: str, metric: Metric, scheme: str) -> bytes:
    labels = b"".join(
        message(1, text(1, escape_label_name(key, scheme)) + text(2, value))
        for key, value in metric.labels
    )
    if metric.message is not None:
        return labels + message(VALUES[type_], metric.message)
    value = double(1, metric.value) if type_ in SIMPLE else _distribution(type_, metric.value)
    return labels + message(VALUES[type_], value)


def _distribution(type_: str, value: Distribution) -> bytes:
    points = _quantile if type_ == SUMMARY else _bucket
    content = unsigned(1, int(value.count)) + double(2, value.sum)
    return content + b"".join(message(3, points(*point)) for point in value.points)


def _quantile(quantile: float, value: float) -> bytes:
    return double(1, quantile) + double(2, value)


def _bucket(bound: float, count: float) -> bytes:
    return unsigned(1, int(count)) + double(2, bound)


def shown_metric(type_: str, metric: Metric) -> str:
    """Return a metric as Go's protobuf text, for error messages."""
    labels = "  ".join(
        f"label:{{name:{quote(name)}  value:{quote(value)}}}" for name, value in metric.labels
    )
    return f"{labels}  {_shown_value(type_, metric.value)}"


def _shown_value(type_: str, value: Any) -> str:
    if isinstance(value, Foreign):
        return "" if value.value is None else _shown_value(value.type, value.value)
    if isinstance(value, Distribution):
        return f"{type_.lower()}:{{sample_count:{value.count:g}  sample_sum:{go_float(value.sum)}}}"
    return f"{type_.lower()}:{{value:{go_float(value)}}}"
