"""Families as a scraper gets them: text 0.0.4, or delimited protocol buffers.

These are the two formats of the original. Everything here is about one metric of one family: who
puts them together keeps the bytes of what has not changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from prom_middleware.exposition.accept import ranges
from prom_middleware.exposition.formats.escaping import (
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
from prom_middleware.exposition.negotiation import DELIMITED, MESSAGE, PROTOBUF
from prom_middleware.pushgateway.bodies.protobuf import VALUES
from prom_middleware.pushgateway.families import (
    SIMPLE,
    SUMMARY,
    TYPES,
    Distribution,
    Foreign,
    Labels,
    Metric,
    label_names,
)
from prom_middleware.pushgateway.numbers import go_float

_INFINITY = float("inf")


class Form(NamedTuple):
    """One of the forms that a scraper can have; `scheme` is for names that are not classic."""

    is_protobuf: bool = False
    scheme: str = UNDERSCORES

    @property
    def content_type(self) -> str:
        """Return what to announce."""
        if self.is_protobuf:
            return f"{PROTOBUF}; proto={MESSAGE}; encoding=delimited; escaping={self.scheme}"
        return f"text/plain; version=0.0.4; charset=utf-8; escaping={self.scheme}"


def negotiate(accept: str) -> Form:
    """Return the form for an Accept header, by the rules of the original: text for all else."""
    scheme = UNDERSCORES
    for asked in sorted(ranges(accept), key=lambda one: -one.weight):
        wanted = asked.parameters.get("escaping", "")
        scheme = wanted if wanted in SCHEMES else scheme
        if asked.name == PROTOBUF and DELIMITED.items() <= asked.parameters.items():
            return Form(True, scheme)
        if asked.name == "text/plain" and asked.parameters.get("version", "0.0.4") == "0.0.4":
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
    if type_ in SIMPLE:
        line = _template(
            escape_metric_name(name, form.scheme), label_names(metric.labels), "", form.scheme
        )
        return (line % (*_values(metric.labels), go_float(metric.value))).encode()
    return "".join(_distribution_lines(name, type_, metric, form.scheme)).encode()


def _escaped_help(documentation: str) -> str:
    return documentation.replace("\\", r"\\").replace("\n", r"\n")


@lru_cache(maxsize=10_000)
def _template(name: str, names: tuple[str, ...], inner: str, scheme: str) -> str:
    """Return a sample's line, to be filled with the values of its labels, `inner`, and its own."""
    shown = [quoted_label_name(escape_label_name(one, scheme)) for one in names] + inner.split()
    pairs = ['{}="%s"'.format(one.replace("%", "%%")) for one in shown]
    if is_classic(name):
        return f"{name}{{{','.join(pairs)}}} %s\n" if pairs else f"{name} %s\n"
    return "{" + ",".join([quote(name).replace("%", "%%"), *pairs]) + "} %s\n"


def _values(labels: Labels) -> tuple[str, ...]:
    values = tuple([value for _, value in labels])
    together = "".join(values)
    if '"' in together or "\\" in together or "\n" in together:
        return tuple(map(escape_value, values))
    return values


def _distribution_lines(name: str, type_: str, metric: Metric, scheme: str) -> Iterable[str]:
    value: Distribution = metric.value
    inner, ending = ("quantile", "") if type_ == SUMMARY else ("le", "_bucket")
    # The whole name is escaped, and endings are put to it as they are.
    whole = escape_metric_name(name, scheme)
    names, values = label_names(metric.labels), _values(metric.labels)
    line = _template(whole + ending, names, inner, scheme)
    points = list(value.points)
    if type_ != SUMMARY and all(bound != _INFINITY for bound, _ in points):
        points.append((_INFINITY, value.count))
    for bound, number in points:
        yield line % (*values, go_float(bound), go_float(number))
    for ending_, number in (("_sum", value.sum), ("_count", value.count)):
        yield _template(whole + ending_, names, "", scheme) % (*values, go_float(number))


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
