"""Native histograms in OpenTelemetry: the same buckets, counted by the bound at their beginning."""

from __future__ import annotations

import math
from typing import Any

import prometheus_client.samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.bridge.outgoing.exponential import WIDEST, exponential, native_points
from prom_middleware.bridge.outgoing.otlp import Otlp
from prom_middleware.exposition.formats.points import NativePoint, Spans, own_native, spans_of
from prom_middleware.instrumentation.families import BlockFamily, Native, Row
from prom_middleware.instrumentation.native import INFINITE, upper_bound

# The indexes of schema 3 that numbers of time have, and some more.
indexes = st.integers(-300, 300)
histograms = st.dictionaries(indexes, st.integers(1, 2**40))


def base(scale: int) -> float:
    return float(2 ** (2.0**-scale))


def intervals(scale: int, offset: int, counts: Any) -> dict[float, int]:
    """Return the counts that there are, by the bound at the end of their buckets."""
    found = {base(scale) ** (offset + n + 1): count for n, count in enumerate(counts) if count}
    return dict(sorted(found.items()))


@given(histograms, st.integers(0, 1000))
def test_every_bucket_has_the_bounds_that_it_had(counts: dict[int, int], zeros: int) -> None:
    found = exponential(own_native(Native(3, 2.0**-128, zeros, counts)))
    known = {upper_bound(index): count for index, count in sorted(counts.items())}
    shown = intervals(found.scale, *found.positive)
    assert list(shown) == pytest.approx(list(known))
    assert list(shown.values()) == list(known.values())
    assert (found.scale, found.zero_count) == (3, zeros)
    assert found.observations == zeros + sum(counts.values())


@given(histograms, histograms, st.integers(-4, 8))
def test_both_sides_of_zero(above: dict[int, int], below: dict[int, int], schema: int) -> None:
    found = exponential(NativePoint(schema, 0.0, 0, spans_of(above), spans_of(below), extra=2))
    for side, counts in ((found.positive, above), (found.negative, below)):
        shown = {side.offset + 1 + n: count for n, count in enumerate(side.counts) if count}
        assert shown == counts
    assert found.observations == sum(above.values()) + sum(below.values()) + 2


@given(st.dictionaries(st.integers(-(10**6), 10**6), st.integers(1, 9), min_size=1))
def test_too_many_in_a_row_become_wider_ones(counts: dict[int, int]) -> None:
    """Each observation is in a bucket that has the one in it where it was."""
    found = exponential(NativePoint(8, 0.0, 0, spans_of(counts)))
    assert len(found.positive.counts) <= WIDEST
    halvings = 8 - found.scale
    expected: dict[int, int] = {}
    for index, count in counts.items():
        wider = math.ceil(index / 2**halvings)
        expected[wider] = expected.get(wider, 0) + count
    first = found.positive.offset + 1
    shown = {first + n: count for n, count in enumerate(found.positive.counts) if count}
    assert shown == expected


def test_what_never_ended() -> None:
    """It is in the last bucket of all, and the others stay as they are."""
    found = exponential(own_native(Native(3, 2.0**-128, 0, {-24: 1.0, INFINITE: 2.0})))
    assert (found.scale, found.positive.offset) == (3, -25)
    assert found.positive.counts[0] == 1
    assert found.positive.counts[-1] == 2
    assert found.observations == 3


@pytest.mark.parametrize(
    "native",
    [
        NativePoint(-53, 0.0, 0, Spans([(0, 1)], [1])),
        NativePoint(9, 0.0, 0, Spans()),
        NativePoint(0, 0.0, 0, Spans([(0, 1), (2**31 - 2, 1)], [1, 1])),
        NativePoint(0, 0.0, 0, Spans([(0, 2)], [1, -1])),
        NativePoint(0, 0.0, math.nan, Spans()),
        NativePoint(0, 0.0, 0, Spans([(0, 1)], [math.inf])),
    ],
    ids=["custom", "finer", "endless", "negative", "nan", "infinite"],
)
def test_what_is_no_exponential_histogram(native: NativePoint) -> None:
    with pytest.raises(ValueError, match=r"schema|further|count"):
        exponential(native)


def test_a_span_that_is_longer_than_what_it_has() -> None:
    found = exponential(NativePoint(0, 0.0, 0, Spans([(1, 2**31)], [3, 4])))
    assert found.positive == (0, (3, 4))


def family_of(*rows: Row) -> BlockFamily:
    family = MetricFamily("took_seconds", "Took.", "histogram", "seconds")
    return BlockFamily(family, ("who",), (1.0,), lambda: iter(rows))


def metrics(*families: MetricFamily) -> list[Any]:
    content = Otlp("http://127.0.0.1").batch(families, 9.0).content
    return list(content.resource_metrics[0].scope_metrics[0].metrics)


def test_a_label_set_is_sent_once() -> None:
    native = Native(3, 2.0**-128, 1, {0: 2.0, 8: 1.0})
    with_native = Row(("joe",), (2.0, 4.0, 4.0, 5.5), 7.0, None, native)
    without = Row(("ann",), (2.0, 4.0, 4.0, 5.5))
    exponentials, classic = metrics(family_of(with_native, without))
    assert (exponentials.name, exponentials.unit) == ("took_seconds", "seconds")
    (point,) = exponentials.data.data_points
    assert point.attributes == {"who": "joe"}
    assert (point.start_time_unix_nano, point.time_unix_nano) == (7 * 10**9, 9 * 10**9)
    assert (point.count, point.sum, point.scale, point.zero_count) == (4, 5.5, 3, 1)
    assert (point.positive.offset, point.positive.bucket_counts) == (-1, (2, *[0] * 7, 1))
    assert (point.negative.offset, point.negative.bucket_counts) == (0, ())
    (point,) = classic.data.data_points
    assert point.attributes == {"who": "ann"}


def native_sample(**labels: str) -> Sample:
    samples: Any = prometheus_client.samples
    if not hasattr(samples, "NativeHistogram"):
        pytest.skip("this prometheus_client has no native histograms")
    spans = (samples.BucketSpan(1, 2),)
    native = samples.NativeHistogram(5, 2.5, 0, 0.25, 2, spans, None, (2, -1))
    return Sample("took", labels, 0.0, 3.5, None, native)


def test_those_of_prometheus_client() -> None:
    family = MetricFamily("took", "Took.", "histogram")
    family.samples = [
        native_sample(who="joe"),
        Sample("took_count", {"who": "joe"}, 5.0),
        Sample("took_created", {"who": "joe"}, 2.0),
    ]
    (metric,) = metrics(family)
    (point,) = metric.data.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (2 * 10**9, 35 * 10**8)
    assert (point.count, point.sum, point.scale, point.zero_count) == (5, 2.5, 0, 2)
    assert (point.positive.offset, point.positive.bucket_counts) == (0, (2, 1))


def test_a_gauge_histogram_is_none() -> None:
    family = MetricFamily("took", "Took.", "gaugehistogram")
    family.samples = [native_sample()]
    assert list(native_points(family)) == []
    assert metrics(family) == []
