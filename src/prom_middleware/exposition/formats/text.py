"""The text format, versions 0.0.4 and 1.0.0.

They differ in the names that they may have, which is a matter of the escaping scheme.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.formats.escaping import (
    OWN_SUFFIX,
    quoted_metric_name,
    stem_of,
)
from prom_middleware.exposition.formats.lines import (
    SAMPLES,
    Layout,
    SampleLines,
    check,
    created_line,
    help_line,
    in_slices,
    row_line,
)
from prom_middleware.exposition.formats.points import is_native
from prom_middleware.instrumentation.families import BlockFamily

# Types that this format does not know, by what they are shown as.
TYPES = {"info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram", "unknown": "untyped"}
# Samples that it does not know either: they are gauges of their own, after all others.
APART = ("_created", "_gcount", "_gsum")


def family(family: MetricFamily, scheme: str) -> Iterator[bytes]:
    """Yield the slices of one family."""
    check(family)
    first = _metadata(family, OWN_SUFFIX.get(family.type, ""), scheme)
    if not isinstance(family, BlockFamily):
        yield from _others(family, first, scheme)
        return
    time = family.milliseconds
    layout = Layout(family, scheme, "\n" if time is None else f" {time}\n")
    line = row_line(layout)
    if family.numbers is not None:
        lines: Iterator[str] = starmap(line, family.numbers())
    else:
        lines = (line(row.labels, row.values) for row in family.rows())
    yield from in_slices(lines, first)
    if family.shows_created:
        lines = map(created_line(layout), family.rows())
        created = next(lines, None)
        if created is not None:
            yield from in_slices(lines, _metadata(family, "_created", scheme, "gauge") + created)


def _metadata(family: MetricFamily, suffix: str, scheme: str, kind: str = "") -> str:
    name = quoted_metric_name(stem_of(family, scheme) + suffix)
    kind = kind or TYPES.get(family.type, family.type)
    return help_line(name, family.documentation, _escaped) + f"# TYPE {name} {kind}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _others(family: MetricFamily, first: str, scheme: str) -> Iterator[bytes]:
    apart: dict[str, list[str]] = {}
    yield from in_slices(_sample_lines(family, scheme, apart), first, SAMPLES)
    for suffix, lines in sorted(apart.items()):
        yield from in_slices(lines, _metadata(family, suffix, scheme, "gauge"), SAMPLES)


def _sample_lines(family: MetricFamily, scheme: str, apart: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines of samples, but add to `apart` those that are gauges of their own."""
    line = SampleLines(family, scheme).line
    names = {family.name + suffix: suffix for suffix in APART}
    for sample in family.samples:
        if is_native(sample):
            continue  # there is no way to show it
        time = sample.timestamp
        if time is not None and float(time) * 1000 <= -1:
            continue  # Prometheus takes no sign before a time here, and drops all of the exposition
        # Milliseconds, cut off.
        ending = "\n" if time is None else f" {int(float(time) * 1000)}\n"
        suffix = names.get(sample.name)
        if suffix is None:
            yield line(sample) + ending
        else:
            apart.setdefault(suffix, []).append(line(sample) + ending)
