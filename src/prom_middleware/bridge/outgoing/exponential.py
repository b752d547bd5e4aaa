"""Native histograms as OpenTelemetry has them: exponential ones, whose buckets have no gaps.

Both have bounds that are powers of 2 ** (2 ** -scale). Prometheus counts buckets by the bound at
their end, OpenTelemetry by the one at their beginning, so that an index there is one less.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.exposition.formats.points import (
    GREATEST,
    LEAST,
    Labels,
    NativePoint,
    Point,
    Spans,
    is_native,
    native_point,
    row_point,
)
from prom_middleware.instrumentation.families import BlockFamily
from prom_middleware.instrumentation.native import halved

# So many buckets in a row have a count each, most of them 0. All of schema 3 that is about time has
# 336; where something took for ever, which has the last bucket of all, there are some thousands.
WIDEST = 10_000
MOST = 2.0**48  # observations in one bucket; the sum of all has to fit into 64 bits


class Side(NamedTuple):
    """The buckets on one side of zero: the index of the first one, and all counts from there."""

    offset: int = 0
    counts: tuple[int, ...] = ()


class Exponential(NamedTuple):
    """An exponential histogram; `observations` are also in no bucket, where they were NaN."""

    observations: int
    scale: int
    zero_count: int
    positive: Side
    negative: Side


def native_points(family: MetricFamily) -> Iterator[tuple[Point, NativePoint]]:
    """Yield the native histograms of a family, with what each label set has beside them.

    Those of a gauge histogram are none of OpenTelemetry's: what it has can only grow.
    """
    if family.type == "histogram":
        points = _of_rows(family) if isinstance(family, BlockFamily) else _of_samples(family)
        yield from ((point, point.native) for point in points if point.native)


def _of_rows(family: BlockFamily) -> Iterator[Point]:
    return map(row_point(family), (row for row in family.rows() if row.native))


def _of_samples(family: MetricFamily) -> Iterator[Point]:
    created = f"{family.name}_created"
    times = {labels_of(one): float(one.value) for one in family.samples if one.name == created}
    for sample in filter(is_native, family.samples):
        found: Any = sample.native_histogram
        yield Point(
            labels := labels_of(sample),
            sample.timestamp,
            sum=float(found.sum_value),
            created=times.get(labels, 0.0),
            native=native_point(found),
        )


def labels_of(sample: Sample, without: str = "") -> Labels:
    """Return the labels in order, but for one of them."""
    labels = (sample.labels or {}).items()
    return tuple(sorted(label for label in labels if label[0] != without))


def exponential(native: NativePoint) -> Exponential:
    """Return a native histogram, with wider buckets if they would be too many in a row.

    Raises ValueError for buckets that are no exponential ones, or of numbers that do not exist.
    """
    scale, sides = native.schema, (_buckets(native.positive), _buckets(native.negative))
    if not LEAST <= scale <= GREATEST:
        raise ValueError(f"the buckets of schema {scale} are not exponential")
    while max(map(_width, sides)) > WIDEST:
        if scale == LEAST:  # receivers need not take wider ones
            raise ValueError("the buckets go further than numbers do")
        scale, sides = scale - 1, (halved(sides[0]), halved(sides[1]))
    positive, negative = map(_side, sides)
    zeros = _whole(native.zero_count)
    count = zeros + sum(positive.counts) + sum(negative.counts) + _whole(native.extra)
    return Exponential(count, scale, zeros, positive, negative)


def _buckets(side: Spans) -> dict[int, int]:
    """Return the counts that are not 0, by Prometheus' index."""
    found: dict[int, int] = {}
    counts, at = iter(side.counts), 0
    for offset, length in side.spans:
        at += offset
        for index, count in zip(range(at, at + length), counts, strict=False):
            if whole := _whole(count):
                found[index] = whole
        at += length
    return found


def _whole(count: float) -> int:
    # What cannot be encoded would hold up all that is sent with it.
    if not 0 <= count < MOST:
        raise ValueError(f"{count!r} is no count")
    return round(count)


def _width(buckets: Mapping[int, int]) -> int:
    return max(buckets) - min(buckets) + 1 if buckets else 0


def _side(buckets: Mapping[int, int]) -> Side:
    if not buckets:
        return Side()
    first, last = min(buckets), max(buckets)
    return Side(first - 1, tuple(buckets.get(index, 0) for index in range(first, last + 1)))
