"""Registries: shared, own, taken, emptied, restricted."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

from instrumentation.driver import core, record
from metrics import collected, series, value
from prom_middleware.errors import MetricConflictError
from prom_middleware.instrumentation import Instrumentation, registered


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def requests(registry: CollectorRegistry) -> float:
    return value(collected(registry), "http_requests_total")


TAKEN = [
    lambda r: Counter("http_requests", "Theirs.", registry=r),
    lambda r: Histogram("http_request_duration_seconds", "Theirs.", registry=r),
    lambda r: Gauge("http_requests_in_progress", "Theirs.", registry=r),
    lambda r: Gauge("http_request_duration_seconds_sum", "Theirs.", registry=r),
    lambda r: Counter("prom_middleware_errors", "Theirs.", registry=r),
    lambda r: Gauge("prom_middleware_workers", "Theirs.", registry=r),
    lambda r: Counter("prom_middleware_series_overflow", "Theirs.", registry=r),
]


@pytest.mark.parametrize("take", TAKEN)
def test_a_name_that_is_taken_is_told_at_construction(
    registry: CollectorRegistry, take: Any
) -> None:
    take(registry)
    with pytest.raises(MetricConflictError, match="registry=") as caught:
        core(registry)
    assert isinstance(caught.value.__cause__, ValueError)
    assert registered(registry) is None


def test_a_users_metric_of_our_name_is_refused_later(registry: CollectorRegistry) -> None:
    core(registry)
    with pytest.raises(ValueError, match="http_requests"):
        Counter("http_requests", "Theirs.", registry=registry)


def test_after_a_conflict_is_gone_the_registry_can_be_used(registry: CollectorRegistry) -> None:
    theirs = Counter("http_requests", "Theirs.", registry=registry)
    with pytest.raises(MetricConflictError):
        core(registry)
    registry.unregister(theirs)
    record(core(registry))
    assert requests(registry) == 1


def test_two_applications_on_one_registry_are_both_recorded(registry: CollectorRegistry) -> None:
    record(core(registry), "/one")
    record(core(registry), "/two")
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/one"}) == 1
    assert value(samples, "http_requests_total", {"route": "/two"}) == 1


def test_the_same_application_built_again_goes_on_counting(registry: CollectorRegistry) -> None:
    for _ in range(5):
        record(core(registry))
    assert requests(registry) == 5
    names = [family.name for family in registry.collect()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("index", range(2))
def test_the_global_registry_takes_many_applications(index: int) -> None:
    """A test suite builds its application in every test, mostly without a registry of its own."""
    from prometheus_client import REGISTRY

    from prom_middleware.asgi import PrometheusMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Serve nothing."""

    for _ in range(3):
        PrometheusMiddleware(app)
    assert registered(REGISTRY) is not None


def test_a_registry_that_was_emptied_shows_a_new_application(registry: CollectorRegistry) -> None:
    record(core(registry))
    for collector in list(registry._collector_to_names):
        registry.unregister(collector)
    assert not collected(registry)
    record(core(registry))
    assert requests(registry) >= 1
    record(core(registry))
    names = [family.name for family in registry.collect()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({}, {"buckets": [1, 2]}, "buckets="),
        ({"buckets": [1, 2]}, {"buckets": [1, 3]}, "buckets="),
        ({"labels": {"tenant": "a"}}, {}, "labels="),
        ({"native_histograms": True}, {}, "native_histograms"),
        ({}, {"native_histograms": True}, "native_histograms"),
        ({"labels": {"tenant": "a"}}, {"labels": {"team": "a"}}, "labels="),
    ],
)
def test_doors_on_one_registry_must_agree(
    registry: CollectorRegistry, first: Any, second: Any, named: str
) -> None:
    core(registry, **first)
    with pytest.raises(MetricConflictError, match=named):
        core(registry, **second)
    record(core(registry, **first))
    assert requests(registry) == 1


def test_the_same_buckets_written_otherwise_are_the_same(registry: CollectorRegistry) -> None:
    core(registry, buckets=[1, 2])
    core(registry, buckets=(1.0, 2.0, float("inf")))


def test_the_same_labels_in_another_order_are_the_same(registry: CollectorRegistry) -> None:
    record(core(registry, labels={"team": "a", "site": "b"}))
    record(core(registry, labels={"site": "b", "team": "a"}))
    assert value(collected(registry), "http_requests_total", {"team": "a", "site": "b"}) == 2


def test_constant_labels_may_differ_in_value(registry: CollectorRegistry) -> None:
    record(core(registry, labels={"team": "a"}))
    record(core(registry, labels={"team": "b"}))
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"team": "a"}) == 1
    assert value(samples, "http_requests_total", {"team": "b"}) == 1


def test_own_registries_are_apart() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    record(core(one))
    core(other)
    assert (requests(one), requests(other)) == (1, 0)
    assert registered(one) is not registered(other)


def test_a_registry_is_not_kept_alive() -> None:
    registry = CollectorRegistry()
    record(core(registry))
    gone = weakref.ref(registry)
    del registry
    gc.collect()
    assert gone() is None


def test_prometheus_client_shows_what_we_record(registry: CollectorRegistry) -> None:
    Counter("mine", "Mine.", registry=registry).inc()
    record(core(registry))
    text = generate_latest(registry).decode()
    samples = series(text)
    assert value(samples, "mine_total") == 1
    assert value(samples, "http_requests_total", {"route": "/r", "status": "200"}) == 1
    assert "# TYPE http_request_duration_seconds histogram" in text


def test_prometheus_clients_own_server_shows_what_we_record(registry: CollectorRegistry) -> None:
    record(core(registry))
    started = start_http_server(0, "127.0.0.1", registry=registry)
    if started is None:  # prometheus_client before 0.19 does not say where it listens
        pytest.skip("this prometheus_client does not return its server")
    server, thread = started
    try:
        with urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as response:
            samples = series(response.read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert value(samples, "http_requests_total") == 1


def test_a_registry_can_be_restricted(registry: CollectorRegistry) -> None:
    Counter("mine", "Mine.", registry=registry).inc()
    record(core(registry))
    restricted: Any = registry.restricted_registry(["http_requests_total"])
    assert {family.name for family in restricted.collect()} == {"http_requests"}
    of_histogram: Any = registry.restricted_registry(["http_request_duration_seconds_count"])
    samples = [sample for family in of_histogram.collect() for sample in family.samples]
    assert {sample.name for sample in samples} == {"http_request_duration_seconds_count"}
    assert [sample.value for sample in samples] == [1]


def test_a_sample_can_be_asked_for(registry: CollectorRegistry) -> None:
    record(core(registry))
    labels = {"method": "GET", "route": "/r", "status": "200"}
    assert registry.get_sample_value("http_requests_total", labels) == 1


def test_every_family_that_is_collected_was_described(registry: CollectorRegistry) -> None:
    instrumentation: Instrumentation = core(registry, max_series=1)
    record(instrumentation)
    record(instrumentation, "/other")
    collector: Any = next(iter(registry._collector_to_names))
    described = {family.name: family.type for family in collector.describe()}
    collected_now = {family.name: family.type for family in collector.collect()}
    assert collected_now.items() <= described.items()
