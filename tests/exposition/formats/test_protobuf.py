"""Our protobuf, read by the real package, says what the samples say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric
from prometheus_client import samples as samples_module
from prometheus_client.core import HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as their_families
from prometheus_client.samples import Exemplar, Sample

from asking import asked
from exposition.collecting.test_collection import Collects
from exposition.formats.comparing import PROTOBUF, render
from exposition.formats.metrics_proto import decode, samples
from exposition.formats.random_families import LABELS, UTF_8, UTF_8_LABELS, families
from exposition.formats.random_families import registry as collecting
from prom_middleware import failures
from prom_middleware.exposition import scrape
from prom_middleware.exposition.formats.wire import signed, varint
from prom_middleware.instrumentation.families import BlockFamily, Native, Row
from prom_middleware.parser import openmetrics_string_to_metric_families as parse

CREATED = 1520430000.123


def expected(family: Metric) -> list[tuple[Any, ...]]:
    """Return a family's samples as those of a decoded one are."""
    found = []
    for sample in family.samples:
        if sample.name == f"{family.name}_created" and family.type != "gauge":
            continue
        inner = {"le": lambda v: repr(float(v)), "quantile": lambda v: repr(float(v))}
        parts = family.type in ("histogram", "gaugehistogram", "summary")
        labels = sorted(
            (name, inner[name](value) if parts and name in inner else value)
            for name, value in sample.labels.items()
        )
        time = None if sample.timestamp is None else int(float(sample.timestamp) * 1000)
        found.append((sample.name, labels, repr(float(sample.value)), time))
    return sorted(found, key=repr)


@given(families(names=st.sampled_from(["a", "b_seconds"]) | UTF_8, labels=(*LABELS, *UTF_8_LABELS)))
def test_any_family(family: Metric) -> None:
    body = render(f"{PROTOBUF};escaping=allow-utf-8", [family])
    decoded = list(decode(body))
    assert len(decoded) == bool(family.samples)
    for one in decoded:
        assert one.help == family.documentation
        assert one.unit == family.unit
        assert sorted(samples(one), key=repr) == expected(family)


@given(families())
def test_created_and_exemplars_of_any_family(family: Metric) -> None:
    created = {s.value for s in family.samples if s.name == f"{family.name}_created"}
    traced = {str(s.exemplar.value) for s in family.samples if s.exemplar}
    found_created, found_traced = set(), set()
    for one in decode(render(PROTOBUF, [family])):
        for metric in one.metric:
            for name in ("counter", "summary", "histogram"):
                value = getattr(metric, name)
                if value.HasField("created_timestamp"):
                    found_created.add(value.created_timestamp.ToNanoseconds())
            if metric.counter.HasField("exemplar"):
                found_traced.add(str(metric.counter.exemplar.value))
            for bucket in metric.histogram.bucket:
                if bucket.HasField("exemplar"):
                    found_traced.add(str(float(bucket.exemplar.value)))
    assert found_created == {round(one * 1e6) * 1000 for one in created}
    assert found_traced == {str(float(one)) for one in traced}


def block(*rows: Row, kind: str = "histogram", bounds: Any = (0.1, 1.0)) -> BlockFamily:
    family = Metric("a_seconds", "Help.", kind, "seconds")
    return BlockFamily(family, ("b", "a"), bounds if kind == "histogram" else (), lambda: rows)


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram", "summary"])
def test_rows(kind: str) -> None:
    values = {"histogram": (1.0, 300.0, 70000.0, 70000.0, 5.5), "summary": (3.0, 0.5)}
    family = block(
        Row(("%", '"\n'), values.get(kind, (1e300,)), CREATED),
        Row(("", "é"), values.get(kind, (0.0,))),
        kind=kind,
    )
    (decoded,) = decode(render(PROTOBUF, [family]))
    assert decoded.name == ("a_seconds_total" if kind == "counter" else "a_seconds")
    assert (decoded.help, decoded.unit) == ("Help.", "seconds")
    assert sorted(samples(decoded), key=repr) == expected(family)
    if kind != "gauge":
        first, second = (getattr(metric, kind) for metric in decoded.metric)
        assert first.created_timestamp.ToNanoseconds() == 1520430000123000000
        assert not second.HasField("created_timestamp")


@pytest.mark.parametrize("count", [-1.0, 1.5, 2.0**64, math.nan, math.inf])
def test_a_summary_whose_count_is_none_is_left_out(count: float) -> None:
    family = SummaryMetricFamily("a", "A.", count_value=count, sum_value=2.0)
    beside = SummaryMetricFamily("b", "B.", count_value=2**63, sum_value=2.0)
    failed = failures.counts().get("collector.garbage", 0)
    answer = scrape(collecting(family, beside), asked(accept=PROTOBUF))
    (decoded,) = decode(answer.body)
    assert (decoded.name, decoded.metric[0].summary.sample_count) == ("b", 2**63)
    assert failures.counts()["collector.garbage"] == failed + 1


def test_a_row_with_exemplars() -> None:
    exemplars = {1: Exemplar({"trace_id": "t"}, 0.5, CREATED), 2: Exemplar({"x": "y" * 128}, 9.0)}
    family = block(Row(("1", "2"), (0.0, 1.0, 2.0, 2.0, 9.5), 0.0, exemplars))
    (decoded,) = decode(render(PROTOBUF, [family]))
    assert sorted(samples(decoded), key=repr) == expected(family)
    first, second, third = decoded.metric[0].histogram.bucket
    assert not first.HasField("exemplar")
    assert second.exemplar.value == 0.5
    assert second.exemplar.label[0].value == "t"
    assert second.exemplar.timestamp.ToNanoseconds() == 1520430000123000000
    assert not third.HasField("exemplar")  # longer than Prometheus takes


def counts_of(histogram: Any) -> dict[int, float]:
    """Return the native buckets by their index, as Prometheus reads them."""
    found: dict[int, float] = {}
    counts = iter(itertools.accumulate(histogram.positive_delta))
    index = 0
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            found[index] = next(counts)
            index += 1
    assert next(counts, None) is None
    return {index: count for index, count in found.items() if count}


BUCKETS = st.dictionaries(st.integers(-300, 300), st.sampled_from([1.0, 2.0, 500.0]), max_size=8)


@given(BUCKETS, st.sampled_from([0.0, 3.0]), st.sampled_from([-2.0, 0.0, 2.0]))
def test_native_histograms_agree_with_themselves(
    buckets: dict[int, float], zeros: float, torn: float
) -> None:
    total = sum(buckets.values()) + zeros
    classic = max(total + torn, 0.0)
    exemplars = {2: Exemplar({"trace_id": "t"}, 7.0, CREATED)}
    native = Native(3, 2.0**-128, zeros, buckets)
    row = Row(("1", "2"), (0.0, classic, classic, classic, 5.0), CREATED, exemplars, native)
    (decoded,) = decode(render(PROTOBUF, [block(row)]))
    histogram = decoded.metric[0].histogram
    assert counts_of(histogram) == buckets
    assert (histogram.schema, histogram.zero_threshold) == (3, 2.0**-128)
    assert (histogram.zero_count, histogram.sample_count) == (zeros, total)
    assert all(bucket.cumulative_count <= total for bucket in histogram.bucket)
    assert [bucket.upper_bound for bucket in histogram.bucket] == [0.1, 1.0]
    assert [exemplar.value for exemplar in histogram.exemplars] == [7.0]
    # Otherwise it is a classic one to Prometheus.
    assert len(histogram.positive_span) > 0 or histogram.zero_count > 0


has_natives = pytest.mark.skipif(
    not hasattr(samples_module, "NativeHistogram"),
    reason="this prometheus_client has no native histograms",
)


@has_natives
def test_native_histograms_of_prometheus_client() -> None:
    span = samples_module.BucketSpan
    native = samples_module.NativeHistogram(
        24, 100.0, 0, 0.001, 4, (span(0, 2), span(1, 2)), (span(0, 2), span(1, 2)),
        (2, 1, -3, 3), (2, 1, -2, 3),
    )  # fmt: skip
    has_exemplars = "nh_exemplars" in native._fields
    if has_exemplars:
        native = native._replace(nh_exemplars=(Exemplar({"a": "b"}, -2.5, 12.5),))
    family = HistogramMetricFamily("a", "d")
    family.samples.append(Sample("a", {"l": "v"}, None, None, None, native))  # type: ignore[arg-type]
    (decoded,) = decode(render(PROTOBUF, [family]))
    histogram = decoded.metric[0].histogram
    assert counts_of(histogram) == {0: 2, 1: 3, 4: 3}
    assert list(histogram.negative_delta) == [2, 1, -2, 3]
    assert [(one.offset, one.length) for one in histogram.negative_span] == [(0, 2), (1, 2)]
    # What buckets and zeros have, whatever was said of it: 4 + (2 + 3 + 0 + 3) + (2 + 3 + 1 + 4).
    assert (histogram.sample_count, histogram.sample_sum) == (22, 100.0)
    assert [one.value for one in histogram.exemplars] == [-2.5] * has_exemplars


def native(**changes: Any) -> Metric:
    """Return a family with a native histogram: one at zero, and one in each of two buckets."""
    given: dict[str, Any] = {
        "count_value": 3, "sum_value": 6.0, "schema": 0, "zero_threshold": 0.001, "zero_count": 1,
        "pos_spans": (samples_module.BucketSpan(0, 2),), "pos_deltas": (1, 0),
        "neg_spans": None, "neg_deltas": None,
    }  # fmt: skip
    histogram = samples_module.NativeHistogram(**{**given, **changes})
    family = HistogramMetricFamily("a", "d")
    family.samples.append(Sample("a", None, None, None, None, histogram))  # type: ignore[arg-type]
    return family


FLOATS: list[tuple[dict[str, Any], float, list[float]]] = [
    ({"pos_deltas": (0.5, 0.0), "zero_count": 0}, 1.0, [0.5, 0.5]),
    ({"pos_deltas": (0.5, 0.0), "zero_count": 1.5}, 2.5, [0.5, 0.5]),
    ({"zero_count": 0.5}, 2.5, [1.0, 1.0]),
    ({"zero_count": 2.0**53}, 2.0**53 + 2, [1.0, 1.0]),
    ({"count_value": 3.5, "sum_value": math.nan}, 3.5, [1.0, 1.0]),
]


@has_natives
@pytest.mark.parametrize(("changes", "count", "buckets"), FLOATS)
def test_native_histograms_are_of_integers_or_of_floats(
    changes: dict[str, Any], count: float, buckets: list[float]
) -> None:
    (decoded,) = decode(render(PROTOBUF, [native(**changes)]))
    histogram = decoded.metric[0].histogram
    assert (histogram.sample_count, histogram.sample_count_float) == (0, count)
    assert list(histogram.positive_count) == buckets
    assert not histogram.positive_delta
    assert not histogram.HasField("zero_count")


@has_natives
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": -53}, "no schema"),
        ({"schema": -5}, "no schema"),
        ({"schema": 9}, "no schema"),
        ({"pos_deltas": (1,)}, "not the spans of 1 buckets"),
        ({"pos_deltas": (1, -2)}, "counts that are none"),
        ({"pos_deltas": (1.0, math.nan)}, "counts that are none"),
        ({"zero_count": -1}, "counts that are none"),
        ({"neg_spans": ((0, 1), (-1, 1)), "neg_deltas": (1, 0)}, "overlap"),
    ],
    ids=str,
)
def test_native_histograms_that_prometheus_refuses_raise(
    changes: dict[str, Any], said: str
) -> None:
    for accept in (PROTOBUF, "application/openmetrics-text;version=2.0.0"):
        with pytest.raises(ValueError, match=said):
            render(accept, [native(**changes)])


@has_natives
@pytest.mark.parametrize("read", [parse, their_families])
def test_native_histograms_are_shown_as_parsers_give_them(read: Any) -> None:
    page = (
        "# TYPE a histogram\n# HELP a A.\na {count:3,sum:6.0,schema:0,zero_threshold:0.001,"
        "zero_count:1,positive_spans:[0:2],positive_deltas:[1,0]}\n# EOF\n"
    )
    (family,) = read(page)
    registry = CollectorRegistry()
    registry.register(Collects(family))
    answer = scrape(registry, asked(accept=PROTOBUF))
    (decoded,) = decode(answer.body)
    assert counts_of(decoded.metric[0].histogram) == {0: 1, 1: 1}
    assert decoded.metric[0].histogram.sample_count == 3


@pytest.mark.parametrize("count", [0.5, math.nan, -1.0, math.inf, 2.0**60])
def test_counts_that_are_no_integers(count: float) -> None:
    family = Metric("a", "", "gaugehistogram")
    family.samples += [Sample("a_bucket", {"le": "+Inf"}, count), Sample("a_gcount", {}, count)]
    (decoded,) = decode(render(PROTOBUF, [family]))
    histogram = decoded.metric[0].histogram
    assert repr(histogram.sample_count_float) == repr(count)
    assert repr(histogram.bucket[0].cumulative_count_float) == repr(count)


def test_samples_that_a_type_does_not_have_stand_by_themselves() -> None:
    family = Metric("a", "Help.", "gauge")
    family.samples += [Sample("a", {}, 1.0), Sample("other", {"l": "v"}, 2.0)]
    first, second = decode(render(PROTOBUF, [family]))
    assert (first.name, first.type, first.metric[0].gauge.value) == ("a", 1, 1.0)
    assert (second.name, second.type, second.metric[0].untyped.value) == ("other", 3, 2.0)


def test_nothing_of_a_family_is_there_before_all_of_it_was_made() -> None:
    rows = [Row((str(number), ""), (1.0, 1.0, 1.0, 1.0, 1.0)) for number in range(200)]
    family = block(*rows, Row(("x", None), (1.0, 1.0, 1.0, 1.0, 1.0)))  # type: ignore[arg-type]
    pieces = []
    with pytest.raises(AttributeError):
        pieces.extend(_form().family(family))
    assert not any(pieces)
    pieces = list(_form().family(block(*rows)))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 8192


def _form() -> Any:
    from prom_middleware.exposition.negotiation import negotiate

    return negotiate(PROTOBUF)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (-1, "ffffffffffffffffff01")],
)
def test_varints(number: int, encoded: str) -> None:
    assert varint(number).hex() == encoded


def test_zigzag() -> None:
    numbers = [0, -1, 1, -2, 2147483647, -2147483648]
    encoded = [signed(1, number)[1:] for number in numbers]
    assert encoded == list(map(varint, [0, 1, 2, 3, 4294967294, 4294967295]))
