"""OpenMetrics, versions 0.0.1 and 1.0.0, which look alike.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric as MetricFamily

from prom_middleware.exposition.formats.escaping import (
    escape_value,
    quoted_metric_name,
    shown_unit,
    stem_of,
)
from prom_middleware.exposition.formats.label_sets import Samples, together
from prom_middleware.exposition.formats.lines import (
    SAMPLES,
    Layout,
    SampleLines,
    check,
    created_line,
    exemplar_text,
    help_line,
    in_slices,
    number,
    row_line,
    seconds,
)
from prom_middleware.exposition.formats.points import is_native
from prom_middleware.instrumentation.families import BlockFamily, Row

END = b"# EOF\n"
# Characters of an exemplar's labels, names and values together.
LIMIT = 128
# What may have exemplars.
EXEMPLARS = {"counter": "_total", "histogram": "_bucket", "gaugehistogram": "_bucket"}


def family(family: MetricFamily, scheme: str) -> Iterator[bytes]:
    """Yield the slices of one family."""
    check(family)
    first = _metadata(family, scheme)
    if isinstance(family, BlockFamily):
        yield from in_slices(_block_lines(family, scheme), first)
        return
    samples = yield from together(family)
    yield from in_slices(_sample_lines(family, samples, scheme), first, SAMPLES)


def _metadata(family: MetricFamily, scheme: str) -> str:
    stem = stem_of(family, scheme)
    name, unit = quoted_metric_name(stem), shown_unit(family, stem)
    lines = help_line(name, family.documentation, escape_value) + f"# TYPE {name} {family.type}\n"
    return lines + (f"# UNIT {name} {unit}\n" if unit else "")


def _sample_lines(family: MetricFamily, samples: Samples, scheme: str) -> Iterator[str]:
    line = SampleLines(family, scheme).line
    traced = EXEMPLARS.get(family.type)
    for sample in samples:
        if is_native(sample):
            continue  # there is no way to show it
        time = sample.timestamp
        ending = "" if time is None else f" {seconds(time)}"
        if sample.exemplar and traced and sample.name.endswith(traced):
            ending += exemplar_text(sample.exemplar, scheme, LIMIT)
        yield f"{line(sample)}{ending}\n"


def _block_lines(family: BlockFamily, scheme: str) -> Iterator[str]:
    layout = Layout(family, scheme)
    plain, traced, created = row_line(layout), _traced_line(layout), created_line(layout)
    may_be_traced = family.type in EXEMPLARS
    for row in family.rows():
        line = traced(row) if row.exemplars and may_be_traced else plain(row.labels, row.values)
        # All samples of a label set have to stand together.
        yield line + created(row) if family.shows_created else line


def _traced_line(layout: Layout) -> Callable[[Row], str]:
    fill = layout.filling(layout.samples())
    last = len(layout.family.bounds)  # what is after it is a count or a sum

    def line(row: Row) -> str:
        exemplars = row.exemplars or {}
        numbers = list(map(number, row.values))
        for place, exemplar in exemplars.items():
            if 0 <= place <= last:
                numbers[place] += exemplar_text(exemplar, layout.scheme, LIMIT)
        return fill(row, numbers)

    return line
