"""Histograms and summaries whose samples contradict each other; promtool does not look.

https://prometheus.io/docs/specs/om/open_metrics_spec/#histogram
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf, isnan

from prom_middleware.check.page import Family, Row
from prom_middleware.check.problems import Found, Page, Rule
from prom_middleware.exposition.formats.lines import number


def _buckets(family: Family) -> Iterator[tuple[list[tuple[float, Row]], list[Row]]]:
    """Yield the buckets of each label set, with their bounds, and its other samples."""
    if family.type != "histogram":
        return
    for rows in family.series.values():
        buckets = [(float(row.sample.labels["le"]), row) for row in rows if row.is_bucket]
        yield buckets, [row for row in rows if not row.is_bucket]


def _infinity(family: Family, page: Page) -> Iterator[Found]:
    for buckets, others in _buckets(family):
        if all(bound != inf for bound, _ in buckets):
            row = buckets[-1][1] if buckets else others[0]
            yield Found('histogram should have a bucket with le="+Inf"', row.line)


def _count(family: Family, page: Page) -> Iterator[Found]:
    for buckets, others in _buckets(family):
        total = next((row.sample.value for bound, row in buckets if bound == inf), None)
        for row in others:
            if row.sample.name.endswith("_count") and total not in (None, row.sample.value):
                shown = f"{number(row.sample.value)} and {number(total)}"
                yield Found(
                    f'count and bucket with le="+Inf" should be equal, not {shown}', row.line
                )


def _decreasing(family: Family, page: Page) -> Iterator[Found]:
    for buckets, _ in _buckets(family):
        ordered = sorted(buckets, key=lambda bucket: bucket[0])
        for (_, before), (bound, row) in pairwise(ordered):
            if row.sample.value < before.sample.value:
                yield Found(
                    f"bucket with le={number(bound)} should not count less than the one before it",
                    row.line,
                )


def _repeated(family: Family, page: Page) -> Iterator[Found]:
    for buckets, _ in _buckets(family):
        seen: set[float] = set()
        for bound, row in buckets:
            if bound in seen:
                yield Found(f"bucket with le={number(bound)} not unique", row.line)
            seen.add(bound)


def _unsorted(family: Family, page: Page) -> Iterator[Found]:
    for buckets, _ in _buckets(family):
        for (before, _), (bound, row) in pairwise(buckets):
            if bound < before:
                yield Found('buckets should be in the order of their "le" labels', row.line)


def _bound(family: Family, page: Page) -> Iterator[Found]:
    for _, others in _buckets(family):
        for row in others:
            if row.sample.name.endswith("_bucket"):
                yield Found('buckets should have an "le" label', row.line)


def _quantile(family: Family, page: Page) -> Iterator[Found]:
    if family.type != "summary":
        return
    for sample, line in family.rows:
        if not 0 <= float(sample.labels.get("quantile", 0)) <= 1:
            yield Found("quantiles should be from 0 to 1", line)


def _negative(family: Family, page: Page) -> Iterator[Found]:
    for sample, line in family.rows:
        counts = family.type == "counter" or (
            family.type in ("histogram", "summary") and sample.name.endswith("_count")
        )
        if counts and (sample.value < 0 or isnan(sample.value)):
            what = "negative" if sample.value < 0 else "NaN"
            yield Found(f"counters should not be {what}", line)


HISTOGRAMS: dict[str, Rule] = {
    "infinite-bucket": _infinity,
    "count": _count,
    "decreasing-bucket": _decreasing,
    "bucket-unique": _repeated,
    "bucket-order": _unsorted,
    "bucket-label": _bound,
    "quantile": _quantile,
    "negative-counter": _negative,
}
