"""The cardinality guard: at most `max_series` label sets, one for the rest, all of it counted."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from instrumentation.driver import core, record
from metrics import Series, collected, value
from prom_middleware.instrumentation import Instrumentation

OVERFLOW = "<overflow>"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def limited(registry: CollectorRegistry, max_series: int = 3) -> Instrumentation:
    return core(registry, max_series=max_series)


def routes(samples: Series, name: str = "http_requests_total") -> set[str]:
    return {dict(have)["route"] for (n, have) in samples if n == name}


def overflowed(samples: Series, metric: str = "http_requests_total") -> float:
    return value(samples, "prom_middleware_series_overflow_total", {"metric": metric})


@pytest.mark.parametrize(("number", "over"), [(1, 0), (3, 0), (4, 1), (10, 7)])
def test_what_is_over_goes_into_one_series(
    registry: CollectorRegistry, number: int, over: int
) -> None:
    instrumentation = limited(registry)
    for index in range(number):
        record(instrumentation, f"/{index}")
    samples = collected(registry)
    assert value(samples, "http_requests_total") == number
    assert value(samples, "http_requests_total", {"route": OVERFLOW}) == over
    assert overflowed(samples) == over
    assert len(routes(samples)) == min(number, 4)


def test_nothing_is_lost_in_the_overflow(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 1)
    for index in range(5):
        observation = instrumentation.start({"route": f"/{index}"}, "GET")
        observation.status, observation.sent = "200", 10
        observation.failed(ValueError())
    samples = collected(registry)
    assert value(samples, "http_request_duration_seconds_count") == 5
    assert value(samples, "http_response_body_bytes_total") == 50
    assert value(samples, "http_request_exceptions_total") == 5
    assert value(samples, "http_responses_aborted_total") == 5
    assert value(samples, "http_requests_in_progress") == 0


def test_every_label_of_the_overflow_series_says_so(registry: CollectorRegistry) -> None:
    instrumentation = core(registry, max_series=1, labels={"tenant": lambda facts: facts.route})
    record(instrumentation, "/a")
    record(instrumentation, "/b")
    labels = dict.fromkeys(("method", "route", "status", "tenant"), OVERFLOW)
    assert value(collected(registry), "http_requests_total", labels) == 1


def test_each_update_over_the_limit_is_counted(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 1)
    record(instrumentation, "/a")
    for _ in range(6):
        record(instrumentation, "/b")
    assert overflowed(collected(registry)) == 6


def test_known_label_sets_go_on_after_the_limit(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 1)
    for route in ("/a", "/b", "/a", "/c", "/a"):
        record(instrumentation, route)
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/a"}) == 3
    assert value(samples, "http_requests_total", {"route": OVERFLOW}) == 2


def test_the_overflow_is_counted_for_each_metric_that_has_one(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 1)
    record(instrumentation, "/a")
    record(instrumentation, "/b")
    samples = collected(registry)
    for metric in (
        "http_requests_total",
        "http_request_duration_seconds",
        "http_request_body_bytes_total",
        "http_response_body_bytes_total",
    ):
        assert overflowed(samples, metric) == 1
    assert overflowed(samples, "http_request_exceptions_total") == 0


def test_metrics_have_limits_of_their_own(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 2)
    for index in range(2):
        record(instrumentation, f"/{index}")
    instrumentation.start({"route": "/0"}, "GET").failed(ValueError())
    samples = collected(registry)
    assert value(samples, "http_request_exceptions_total", {"route": "/0"}) == 1


def test_without_overflow_there_is_no_such_series(registry: CollectorRegistry) -> None:
    record(limited(registry))
    assert "prom_middleware_series_overflow_total" not in {name for name, _ in collected(registry)}


def test_websockets_are_limited_as_well(registry: CollectorRegistry) -> None:
    instrumentation = limited(registry, 2)
    for index in range(5):
        connection = instrumentation.connect({"route": f"/{index}"})
        connection.accepted()
        connection.message("received")
        connection.closed(1000)
    samples = collected(registry)
    for metric in (
        "websocket_connections_total",
        "websocket_messages_total",
        "websocket_connection_duration_seconds",
    ):
        assert overflowed(samples, metric) == 3
    assert value(samples, "websocket_connections_total") == 5
    assert value(samples, "websocket_connection_duration_seconds_count") == 5
    assert value(samples, "websocket_connections_open") == 0


def test_the_larger_limit_of_two_doors_counts(registry: CollectorRegistry) -> None:
    record(limited(registry, 1), "/a")
    instrumentation = limited(registry, 3)
    limited(registry, 2)
    for route in ("/b", "/c", "/d"):
        record(instrumentation, route)
    samples = collected(registry)
    assert overflowed(samples) == 1
    assert value(samples, "http_requests_total") == 4


def test_the_overflow_series_takes_no_place_of_a_larger_limit(registry: CollectorRegistry) -> None:
    for route in ("/a", "/b"):
        record(limited(registry, 1), route)
    instrumentation = limited(registry, 3)
    for route in ("/c", "/d", "/e"):
        record(instrumentation, route)
    assert routes(collected(registry)) == {"/a", "/c", "/d", OVERFLOW}


def test_scrapes_are_not_limited(registry: CollectorRegistry) -> None:
    recorder = limited(registry, 1).recorder
    for code in ("200", "401", "403", "500"):
        recorder.add(recorder.series.scrapes, (code,))
    samples = collected(registry)
    assert value(samples, "prom_middleware_scrapes_total", {"code": "500"}) == 1
