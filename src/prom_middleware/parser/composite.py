"""OpenMetrics 2.0, of which there is a release candidate: a histogram is one value, in one line.

https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import Metric as MetricFamily
from prometheus_client.metrics_core import METRIC_TYPES
from prometheus_client.samples import Exemplar, Timestamp

from prom_middleware.errors import ParseError
from prom_middleware.exposition.formats.escaping import OWN_SUFFIX
from prom_middleware.parser.exemplars import OPENMETRICS, read_exemplar, read_number, read_space
from prom_middleware.parser.families import family as new_family
from prom_middleware.parser.line import END_OF_INPUT, Line
from prom_middleware.parser.messages import Message
from prom_middleware.parser.native import fields
from prom_middleware.parser.numbers import number, seconds
from prom_middleware.parser.openmetrics import END, read_comment
from prom_middleware.parser.protobuf import samples_of
from prom_middleware.parser.samples import A_NUMBER, read_series

A_VALUE = "a number, or a count, a sum and what else there is, in brackets"


def composite_fd_to_metric_families(
    fd: Iterable[str], *, strict: bool = True
) -> Iterator[MetricFamily]:
    """Yield the families of the lines of `fd`, with the samples that version 1.0.0 would have.

    An exemplar of a histogram is that of the bucket that it is in. Not strict, lines that cannot be
    read are left out. Raises ParseError.
    """
    family, ended, number_ = None, False, 0
    for number_, text in enumerate(fd, 1):
        line = Line(text, number_, has_blanks=False)
        try:
            if ended:
                raise line.error("there is something after # EOF", expected="nothing")
            ended = text.rstrip("\n") == END
            if ended:
                continue
            name = _name_of(line)
            if family is None or family[0] != name:
                if family is not None:
                    yield family[1]
                family = (name, new_family(name, "", "unknown", []))
            _read(line, name, family[1])
        except ParseError:
            if strict:
                raise
    if family is not None:
        yield family[1]
    if strict and not ended:
        raise ParseError(END_OF_INPUT, number_ + 1, 1, END)


def _name_of(line: Line) -> str:
    """Return the name that a comment or a sample is about, and stay before it."""
    name = read_comment(line).name if line.text[:1] == "#" else read_series(line, OPENMETRICS)[0]
    line.at = 0
    return name


def _read(line: Line, name: str, family: MetricFamily) -> None:
    if line.text[0] != "#":
        _add(line, family)
        return
    keyword, _, text = read_comment(line)
    if keyword == "HELP":
        family.documentation = text
    elif keyword == "UNIT":
        family.unit = text
    elif text not in METRIC_TYPES:
        raise line.error(f"unknown metric type {text!r}", line.text.rindex(text))
    else:
        family.type, family.name = text, name.removesuffix(OWN_SUFFIX.get(text, ""))


def _add(line: Line, family: MetricFamily) -> None:
    labels = read_series(line, OPENMETRICS)[1]
    read_space(line)
    start = line.at
    value = _value(line, family.type)
    time = _time(line, " ")
    created = _time(line, " st@")
    if created is not None:
        value["created"] = _timestamp(created)
    _set_exemplars(value, family.type, list(_exemplars(line)))
    metric = {"label": _pairs(labels)}
    try:
        family.samples += samples_of(family.name, family.type, metric, value, time)
    except (ValueError, TypeError) as error:
        raise line.error(str(error), start, A_VALUE) from error


def _value(line: Line, kind: str) -> Message:
    known = PARTS.get(kind)
    if known is None:
        return {"value": read_number(line, number, "float as value", A_NUMBER)}
    start = line.at
    if line.next() != "{":
        raise line.error(f"expected parts as value of a {kind}", start, A_VALUE)
    found, line.at = fields(line.text, start + 1)
    try:
        parts = {name: _read_field(name, text) for name, text in found.items()}
    except ValueError:
        raise line.error("invalid value of several parts", start, A_VALUE) from None
    value = {NAMES.get(name, name): part for name, part in parts.items()}
    if line.next() != "}" or not known.issuperset(parts) or not _is_whole(value):
        raise line.error("invalid value of several parts", start, A_VALUE)
    line.at += 1
    return value


def _is_whole(value: Message) -> bool:
    """Tell whether nothing of a value would be 0 only because it is missing."""
    found = value.keys()
    return {"count", "sum"} <= found and (found.isdisjoint(NATIVE) or found >= {*NATIVE[:3]})


def _read_field(name: str, text: str) -> Any:
    if name not in LISTS:
        return number(text)
    inner = text.removeprefix("[").removesuffix("]")
    numbers = [[number(one) for one in part.split(":")] for part in inner.split(",") if part]
    keys = LISTS[name]
    if not keys:
        return [one for (one,) in numbers]
    return [dict(zip(keys, part, strict=True)) for part in numbers]


# What the parts of a value are in protobuf.
SIDES = {
    "positive_spans": "positive_span",
    "negative_spans": "negative_span",
    "positive_buckets": "positive_count",
    "negative_buckets": "negative_count",
}
NAMES = {"gcount": "count", "gsum": "sum", **SIDES}
# What a native histogram has besides: the first three of it always.
NATIVE = ("schema", "zero_threshold", "zero_count", *SIDES.values())
BUCKETS = ("bucket", *NATIVE[:3], *SIDES)
# The parts that a value may have, by its type; a value of another type is a number. Drafts differ
# in what the first two are called in a gauge histogram.
PARTS = {
    "histogram": frozenset(("count", "sum", *BUCKETS)),
    "gaugehistogram": frozenset(("gcount", "gsum", "count", "sum", *BUCKETS)),
    "summary": frozenset(("count", "sum", "quantile")),
}
# Parts that are lists, and what the numbers of each of their elements are.
LISTS: dict[str, tuple[str, ...]] = {
    "quantile": ("bound", "value"),
    "bucket": ("bound", "count"),
    "positive_spans": ("offset", "length"),
    "negative_spans": ("offset", "length"),
    "positive_buckets": (),
    "negative_buckets": (),
}


def _time(line: Line, before: str) -> Any:
    """Read a time that stands after `before`; None where there is something else."""
    is_there = line.text.startswith(before, line.at)
    if not is_there or (before == " " and line.text.startswith((" #", " st@"), line.at)):
        return None
    line.at += len(before)
    return read_number(line, seconds, "time in seconds", "seconds since 1970")


def _exemplars(line: Line) -> Iterator[Exemplar]:
    while line.next() == " ":
        yield read_exemplar(line, None)
    if line.next() != "\n":
        raise line.error("there is something after the sample", expected="a line feed")


def _set_exemplars(value: Message, kind: str, exemplars: list[Exemplar]) -> None:
    if not exemplars:
        return
    messages = [_exemplar(one) for one in exemplars]
    value["exemplar"] = messages[0] if kind == "counter" else messages
    for message in messages if "histogram" in kind else ():
        inside = (one for one in value.get("bucket", ()) if message["value"] <= one["bound"])
        bucket = next(inside, None)
        if bucket is not None:
            bucket["exemplar"] = message


def _exemplar(exemplar: Exemplar) -> Message:
    found: Message = {"label": _pairs(exemplar.labels), "value": exemplar.value}
    if exemplar.timestamp is not None:
        found["timestamp"] = _timestamp(exemplar.timestamp)
    return found


def _pairs(labels: dict[str, str]) -> list[Message]:
    return [{"name": name, "value": value} for name, value in labels.items()]


def _timestamp(time: Timestamp | float) -> Message:
    if isinstance(time, Timestamp):
        return {"seconds": time.sec, "nanos": abs(time.nsec)}
    whole, part = divmod(time, 1)
    return {"seconds": int(whole), "nanos": int(part * 1e9)}
