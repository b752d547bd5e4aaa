"""OpenMetrics 2.0, of which there is a release candidate: a histogram is one value, in one line.

https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Exemplar

from prom_middleware.exposition.formats.escaping import (
    escape_metric_name,
    escape_value,
    quoted_metric_name,
    shown_unit,
)
from prom_middleware.exposition.formats.lines import (
    Values,
    brackets,
    exemplar_text,
    help_line,
    in_slices,
    label_names,
    number,
    seconds,
)
from prom_middleware.exposition.formats.points import (
    Bucket,
    Group,
    NativePoint,
    Point,
    Spans,
    groups_of,
)

NAN = float("nan")


def family(family: MetricFamily, scheme: str) -> Iterator[bytes]:
    """Yield the slices of one family; empty ones while it is sorted."""
    for group in groups_of(family):
        if group is None:
            yield b""
        else:
            yield from in_slices(_lines(group, scheme), _metadata(family, group, scheme))


def _metadata(family: MetricFamily, group: Group, scheme: str) -> str:
    whole = escape_metric_name(group.name, scheme)
    name, shown = quoted_metric_name(whole), shown_unit(family, whole)
    unit = f"# UNIT {name} {shown}\n" if shown else ""
    told = help_line(name, family.documentation, escape_value)
    return f"# TYPE {name} {group.type}\n{unit}{told}"


def _lines(group: Group, scheme: str) -> Iterator[str]:
    name, escaped = escape_metric_name(group.name, scheme), Values()
    value = VALUES.get(group.type, _number)
    for point in group.points:
        names = label_names([name for name, _ in point.labels], scheme)
        pairs = zip(names, point.labels, strict=True)
        inner = ",".join(f'{key}="{escaped[text]}"' for key, (_, text) in pairs)
        opening, closing = brackets(name, bool(inner))
        yield f"{opening}{inner}{closing} {value(point)}{_ending(point, group.type, scheme)}\n"


def _ending(point: Point, kind: str, scheme: str) -> str:
    """Return what stands after a value: times, and exemplars, which have to have theirs."""
    time = "" if point.timestamp is None else f" {seconds(point.timestamp)}"
    start = f" st@{seconds(point.created)}" if point.created else ""
    exemplars: Sequence[Exemplar] = ()
    if kind == "counter" and point.exemplar:
        exemplars = [point.exemplar]
    elif kind in ("histogram", "gaugehistogram"):
        exemplars = point.exemplars
    shown = [exemplar_text(one, scheme, None) for one in exemplars if one.timestamp is not None]
    return time + start + "".join(shown)


def _number(point: Point) -> str:
    return number(point.value)


def _summary(point: Point) -> str:
    quantiles = ",".join(f"{number(one.bound)}:{number(one.value)}" for one in point.buckets)
    return f"{{count:{_count(point.count or 0)},sum:{_sum(point)},quantile:[{quantiles}]}}"


def _histogram(point: Point, gauge: str = "") -> str:
    parts = [f"{gauge}count:{_count(_observations(point))}", f"{gauge}sum:{_sum(point)}"]
    if point.native:
        parts += _native(point.native)
    if point.buckets:
        parts.append(f"bucket:[{','.join(map(_bucket, point.buckets))}]")
    return f"{{{','.join(parts)}}}"


def _gauge_histogram(point: Point) -> str:
    return _histogram(point, "g")


VALUES = {
    "summary": _summary,
    "histogram": _histogram,
    "gaugehistogram": _gauge_histogram,
}


def _observations(point: Point) -> float:
    if point.count is not None:
        return point.count
    if point.native:
        return point.native.observations
    return point.buckets[-1].value if point.buckets else 0.0


def _bucket(bucket: Bucket) -> str:
    return f"{number(bucket.bound)}:{_count(bucket.value)}"


def _native(native: NativePoint) -> Iterator[str]:
    yield f"schema:{int(native.schema)}"
    yield f"zero_threshold:{number(native.zero_threshold)}"
    yield f"zero_count:{_count(native.zero_count)}"
    yield from _side("negative", native.negative)
    yield from _side("positive", native.positive)


def _side(name: str, side: Spans) -> Iterator[str]:
    if side.spans:
        yield f"{name}_spans:[{','.join(f'{int(at)}:{int(length)}' for at, length in side.spans)}]"
        yield f"{name}_buckets:[{','.join(map(_count, side.counts))}]"


def _count(count: float) -> str:
    """Return a count as an integer, if it is one."""
    return str(int(count)) if abs(count) < 2**53 and count == int(count) else number(count)


def _sum(point: Point) -> str:
    return number(NAN if point.sum is None else point.sum)
