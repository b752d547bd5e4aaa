"""Protobuf, as another library writes it, and as nobody should."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.parser import ParseError, protobuf_to_metric_families

metrics_proto = pytest.importorskip("exposition.formats.metrics_proto", exc_type=ImportError)
samples_module = pytest.importorskip("prometheus_client.samples")
has_native = pytest.mark.skipif(
    not hasattr(samples_module, "NativeHistogram"), reason="prometheus_client before 0.21"
)


def delimited(*families: Any) -> bytes:
    body = b""
    for family in families:
        message = family.SerializeToString()
        length = len(message)
        while length > 127:
            body += bytes([length & 127 | 128])
            length >>= 7
        body += bytes([length]) + message
    return body


def histogram(**fields: Any) -> Any:
    family = metrics_proto.MetricFamily(name="h", type=4)
    family.metric.add(histogram=fields)
    return family


def parsed(*families: Any) -> Any:
    return list(protobuf_to_metric_families(delimited(*families)))


def test_every_type() -> None:
    label = [{"name": "x", "value": "é"}]
    family = metrics_proto.MetricFamily
    found = parsed(
        family(
            name="a_total", help="A.", type=0, metric=[{"label": label, "counter": {"value": 2}}]
        ),
        family(name="b", type=1, metric=[{"gauge": {"value": -2}, "timestamp_ms": -1500}]),
        family(name="c", type=3, metric=[{"untyped": {}}]),
        family(
            name="d",
            type=2,
            metric=[
                {
                    "summary": {
                        "sample_count": 3,
                        "sample_sum": 4,
                        "quantile": [{"quantile": 0.5, "value": 6}],
                    }
                }
            ],
        ),
        family(
            name="e_seconds", unit="seconds", type=5, metric=[{"histogram": {"sample_count": 3}}]
        ),
    )
    assert [(one.name, one.type, one.unit) for one in found] == [
        ("a", "counter", ""),
        ("b", "gauge", ""),
        ("c", "unknown", ""),
        ("d", "summary", ""),
        ("e_seconds", "gaugehistogram", "seconds"),
    ]
    rows = [(s.name, s.labels, s.value, s.timestamp) for one in found for s in one.samples]
    assert rows == [
        ("a_total", {"x": "é"}, 2, None),
        ("b", {}, -2, -1.5),
        ("c", {}, 0, None),
        ("d", {"quantile": "0.5"}, 6, None),
        ("d_count", {}, 3, None),
        ("d_sum", {}, 4, None),
        ("e_seconds_bucket", {"le": "+Inf"}, 3, None),
        ("e_seconds_gcount", {}, 3, None),
        ("e_seconds_gsum", {}, 0, None),
    ]


def test_exemplars_and_created() -> None:
    exemplar = {"label": [{"name": "t", "value": "1"}], "value": 0.5, "timestamp": {"seconds": 7}}
    bucket = {"cumulative_count": 3, "upper_bound": 1, "exemplar": exemplar}
    (family,) = parsed(
        histogram(
            sample_count=4, bucket=[bucket], created_timestamp={"seconds": 5, "nanos": 5 * 10**8}
        )
    )
    first, *_, last = family.samples
    assert (first.labels, first.exemplar.labels, float(first.exemplar.timestamp)) == (
        {"le": "1.0"},
        {"t": "1"},
        7,
    )
    assert (last.name, last.value) == ("h_created", 5.5)
    assert [s.labels.get("le") for s in family.samples] == ["1.0", "+Inf", None, None, None]


@has_native
def test_native_histograms() -> None:
    (family,) = parsed(
        histogram(
            sample_count=6,
            sample_sum=9.5,
            schema=3,
            zero_threshold=0.001,
            zero_count=1,
            positive_span=[{"offset": -2, "length": 2}],
            positive_delta=[3, -1],
            exemplars=[{"value": 2}],
        )
    )
    (sample,) = family.samples
    native = sample.native_histogram
    assert (sample.name, native.count_value, native.sum_value, native.schema) == ("h", 6, 9.5, 3)
    assert (native.zero_threshold, native.zero_count) == (0.001, 1)
    assert (native.pos_spans, native.pos_deltas) == (((-2, 2),), (3, -1))
    assert (native.neg_spans, native.neg_deltas) == (None, None)


@has_native
def test_native_beside_classic_and_float_counts() -> None:
    (family,) = parsed(
        histogram(
            sample_count_float=2.5,
            schema=0,
            positive_span=[{"offset": 0, "length": 2}],
            positive_count=[1.5, 1.0],
            bucket=[{"cumulative_count_float": 1.5, "upper_bound": 1}],
        )
    )
    assert family.samples[0].native_histogram.pos_deltas == (1.5, -0.5)
    assert [one.value for one in family.samples[1:4]] == [1.5, 2.5, 2.5]


@has_native
def test_a_span_of_nothing_says_only_that_a_histogram_is_native() -> None:
    (family,) = parsed(histogram(schema=3, positive_span=[{"offset": 0, "length": 0}]))
    (sample,) = family.samples
    native = sample.native_histogram
    assert (native.count_value, native.schema) == (0, 3)
    assert (native.pos_spans, native.pos_deltas) == (None, None)


def test_packed_numbers_and_fields_that_nobody_knows() -> None:
    # A count, positive_span, positive_delta as one field, and field 100.
    packed = b"\x08\x05" + b"\x62\x02\x10\x02" + b"\x6a\x02\x06\x01" + b"\xa2\x06\x03new"
    metric = b"\x3a" + bytes([len(packed)]) + packed
    message = b"\x0a\x01h" + b"\x18\x04" + b"\x22" + bytes([len(metric)]) + metric
    (family,) = protobuf_to_metric_families(bytes([len(message)]) + message)
    native = getattr(family.samples[0], "native_histogram", None)
    if native is not None:
        assert native.pos_deltas == (3, -1)


def whole() -> bytes:
    family = metrics_proto.MetricFamily(name="a", type=1)
    family.metric.add(label=[{"name": "x", "value": "y"}], gauge={"value": 1})
    return delimited(family)


@pytest.mark.parametrize("size", range(1, 27))
def test_cut_off(size: int) -> None:
    body = whole()
    assert len(body) == 27
    with pytest.raises(ParseError) as caught:
        list(protobuf_to_metric_families(body[:size]))
    assert caught.value.line is None
    assert "byte 1" in str(caught.value)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "invalid metric name"),
        (b"\x0a\x01a\x18\x07", "unknown metric type 7"),
        (b"\x0a\x01\xff", "UTF-8"),
        (b"\x0a\x05a", "5 bytes"),
        (b"\x08\x01", "a text or a message"),
        (b"\x00\x01", "not 0"),
        (b"\x0b", "a known kind"),
        (b"\xff" * 11, "at most 10 bytes"),
        (b'\x0a\x01a"\x0a\x0a\x03\x0a\x01x\x0a\x03\x0a\x01x', "duplicate label names"),
        (b'\x0a\x01a"\x02\x0a\x00', "without a name"),
    ],
    ids=range(10),
)
def test_damaged(message: bytes, words: str) -> None:
    with pytest.raises(ParseError, match=words):
        list(protobuf_to_metric_families(bytes([len(message)]) + message))


@given(st.data())
def test_changed_bytes_give_families_or_our_error(data: Any) -> None:
    body = bytearray(whole() * 2)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ParseError):
        list(protobuf_to_metric_families(bytes(body)))
