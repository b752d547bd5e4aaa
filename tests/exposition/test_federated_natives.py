"""Native histograms in `/federate`: one series each, where the format has a place for it."""

from __future__ import annotations

from typing import Any

import prometheus_client.samples
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Exemplar

from exposition.federated import ALL, OPENMETRICS, PROTOBUF, asked, registry_of, types
from prom_middleware.instrumentation.families import BlockFamily, Native, Row
from prom_middleware.parser import protobuf_to_metric_families


def _native(counts: dict[int, float], **labels: str) -> Any:
    """Return a family of one native histogram beside a classic one, as an application has them."""
    total = sum(counts.values())
    row = Row(
        tuple(labels.values()), (0.0, total, total, 5.0), 1.5, None, Native(3, 0.5, 0, counts)
    )
    family = MetricFamily("took_seconds", "Took.", "histogram", "seconds")
    return BlockFamily(family, tuple(labels), (1.0,), lambda: [row])


def _federated(registry: CollectorRegistry, query: str, **options: Any) -> list[MetricFamily]:
    answer = asked(registry, query, PROTOBUF, **options)
    assert answer.status == 200
    return list(protobuf_to_metric_families(answer.body))


native_only = pytest.mark.skipif(
    not hasattr(prometheus_client.samples, "NativeHistogram"),
    reason="this prometheus_client has no native histograms",
)


@native_only
@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("match[]=took_seconds", {"took_seconds": "histogram"}),
        ('match[]=took_seconds{who="joe"}', {"took_seconds": "histogram"}),
        ('match[]=took_seconds{dc=""}', {"took_seconds": "histogram"}),
        ('match[]=took_seconds{dc="a"}', {}),
        ('match[]=took_seconds{le=""}', {"took_seconds": "histogram"}),
        ('match[]=took_seconds{who="ann"}', {}),
        ('match[]=took_seconds{le="1.0"}', {}),
        (
            "match[]=took_seconds&match[]=took_seconds_bucket",
            {"took_seconds": "histogram", "took_seconds_bucket": "unknown"},
        ),
        ("match[]=took_seconds_count", {"took_seconds_count": "unknown"}),
    ],
)
def test_a_native_histogram_is_one_series_of_its_familys_name(
    query: str, kinds: dict[str, str]
) -> None:
    registry = registry_of(_native({-3: 2, 4: 1}, who="joe"))
    families = _federated(registry, query, external_labels={"dc": "a"})
    assert {family.samples[0].name: family.type for family in families} == kinds
    if "took_seconds" in kinds:
        (sample,) = families[0].samples
        assert sample.labels == {"who": "joe", "dc": "a"}
        assert sample.timestamp
        assert sample.native_histogram.pos_deltas == (2, -1)
        assert sample.native_histogram.count_value == 3


def test_a_classic_histogram_has_none() -> None:
    registry = CollectorRegistry()
    Histogram("took_seconds", "Took.", registry=registry).observe(1.5)
    assert _federated(registry, "match[]=took_seconds") == []


@native_only
@pytest.mark.parametrize("kind", ["histogram", "gaugehistogram"])
def test_native_histograms_of_prometheus_client(kind: str) -> None:
    from prometheus_client.samples import BucketSpan, NativeHistogram, Sample

    native = NativeHistogram(5, 2.5, 0, 0.25, 2, (BucketSpan(1, 2),), None, (2, -1))
    if "nh_exemplars" in native._fields:
        native = native._replace(nh_exemplars=(Exemplar({"trace_id": "a"}, 1.0, 1.0),))
    family = MetricFamily("took_seconds", "Took.", kind)
    family.samples = [Sample("took_seconds", {"who": "joe"}, 0.0, 1700000000.5, None, native)]
    (found,) = _federated(registry_of(family), ALL)
    (sample,) = found.samples
    assert found.type == kind
    assert (sample.labels, sample.timestamp) == ({"who": "joe"}, 1700000000.5)
    assert sample.native_histogram[:9] == native[:9]
    # As of all series, without what a Prometheus leaves out.
    assert not getattr(sample.native_histogram, "nh_exemplars", None)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_text_has_no_place_for_them(accept: str) -> None:
    registry = registry_of(_native({-3: 2, 4: 1}))
    answer = asked(registry, "match[]=took_seconds", accept)
    assert (answer.status, answer.body) == (200, b"")
    assert set(types(asked(registry, ALL, accept).body.decode())) == {
        *("took_seconds_bucket", "took_seconds_count", "took_seconds_sum")
    }


@native_only
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.integers(-100, 200), st.integers(1, 10**9)))
def test_the_same_histogram_as_a_scrape_shows(counts: dict[int, float]) -> None:
    registry = registry_of(_native(counts))
    (federated,) = _federated(registry, "match[]=took_seconds")
    (scraped,) = _federated(registry, "", path="/metrics")
    assert federated.samples[0].native_histogram == scraped.samples[0].native_histogram


@native_only
def test_classic_histograms_come_before_native_ones() -> None:
    """Prometheus 3 refuses a scrape of protobuf in which one comes after them."""
    family = MetricFamily("took_seconds", "Took.", "histogram")
    spans = [prometheus_client.samples.BucketSpan(0, 1)]
    native = prometheus_client.samples.NativeHistogram(2, 4.0, 3, 1e-3, 0, spans, None, [2], None)
    family.add_sample("took_seconds", {"who": "joe"}, None, native_histogram=native)
    family.add_sample("took_seconds_bucket", {"who": "ann", "le": "+Inf"}, 3)
    family.add_sample("took_seconds_count", {"who": "ann"}, 3)
    family.add_sample("took_seconds_sum", {"who": "ann"}, 4)
    answer = asked(registry_of(family), "", PROTOBUF, "/metrics")
    (found,) = protobuf_to_metric_families(answer.body)
    assert [sample.labels["who"] for sample in found.samples] == ["ann"] * 3 + ["joe"]
