"""Our client against real gateways, in all of its variants."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import prometheus_client.exposition as theirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily

from prom_middleware.push import (
    delete_from_gateway,
    delete_from_gateway_async,
    instance_ip_grouping_key,
    push_to_gateway,
    push_to_gateway_async,
    pushadd_to_gateway,
    pushadd_to_gateway_async,
)
from push.gateways import pushed
from servers.support import Server
from waiting import becomes

pytestmark = pytest.mark.real

jobs = (f"job{number}" for number in itertools.count())
Push = Callable[..., Any]


def awaited(function: Push) -> Push:
    return lambda *args, **kwargs: asyncio.run(function(*args, **kwargs))


VARIANTS = {
    "sync": (push_to_gateway, pushadd_to_gateway, delete_from_gateway),
    "async": tuple(
        map(awaited, (push_to_gateway_async, pushadd_to_gateway_async, delete_from_gateway_async))
    ),
}


def gauges(*names: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    for name in names:
        Gauge(name, "It.", registry=registry).set(7)
    return registry


def names(gateway: Server, job: str) -> set[str]:
    return {name for name, _ in pushed(gateway, job) if not name.startswith("push_")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_put_post_and_delete(gateway: Server, variant: str) -> None:
    put, post, delete = VARIANTS[variant]
    job, address = next(jobs), gateway.url.removeprefix("http://")
    assert put(address, job, gauges("a", "b"))
    assert names(gateway, job) == {"a", "b"}
    assert post(address, job, gauges("c"))
    assert names(gateway, job) == {"a", "b", "c"}, "others stay"
    assert put(address, job, gauges("d"))
    assert names(gateway, job) == {"d"}, "others go"
    result = delete(address, job)
    assert (result.ok, result.status, result.attempts) == (True, 202, 1)
    assert becomes(lambda: pushed(gateway, job), {}) == {}


def test_values_and_labels_arrive(gateway: Server, registry: CollectorRegistry) -> None:
    job = next(jobs)
    Histogram("h", "H.", registry=registry).observe(0.3)
    Info("i", "I.", registry=registry).info({"version": "1"})
    assert push_to_gateway(gateway.url, job, registry)
    found = pushed(gateway, job)
    common = {("instance", ""), ("job", job)}
    assert found["rows_total", frozenset({("kind", 'ü"\n\\'), *common})] == 3
    assert found["h_bucket", frozenset({("le", "+Inf"), *common})] == 1
    assert found["i_info", frozenset({("version", "1"), *common})] == 1


@pytest.mark.parametrize("compression", [None, "gzip", "GZIP", "snappy"])
def test_compression(gateway: Server, registry: CollectorRegistry, compression: str | None) -> None:
    if compression == "snappy":
        if "prom_middleware" not in gateway.process.args:  # type: ignore[operator]
            pytest.skip("Debian's gateway is older than snappy")
        pytest.importorskip("cramjam")
    job = next(jobs)
    assert push_to_gateway(gateway.url, job, registry, compression=compression, retries=0)
    assert "rows_total" in names(gateway, job)


VALUES = ["", " ", "/", "//", "a/b", "a b", ".", "..", "%", "%2F", "+", "ü", "a\nb", "?#;&=@", "*"]


@pytest.mark.parametrize("place", ["label", "job"])
def test_every_value_is_the_group_s(gateway: Server, place: str) -> None:
    for value in VALUES:
        if place == "job" and not value:
            continue
        job = value if place == "job" else next(jobs)
        key = {"place": "/" if place == "job" else value}
        assert push_to_gateway(gateway.url, job, gauges("a"), key), (place, value)
        labels = {("job", job), ("place", key["place"]), ("instance", "")}
        assert ("a", frozenset(labels)) in pushed(gateway, job)
        assert delete_from_gateway(gateway.url, job, key)
        # The original answers 202 before it has deleted.
        assert becomes(lambda job=job: pushed(gateway, job), {}) == {}


# A carriage return stays as it is in the text format; readers of lines take it for an end.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(job=TEXTS, value=TEXTS)
def test_any_value_is_the_group_s(gateway: Server, job: str, value: str) -> None:
    assert push_to_gateway(gateway.url, job, gauges("any"), {"place": value}, retries=0)
    labels = {("job", job), ("place", value), ("instance", "")}
    assert ("any", frozenset(labels)) in gateway.metrics()
    assert delete_from_gateway(gateway.url, job, {"place": value})


def test_the_group_is_the_one_of_prometheus_client(gateway: Server) -> None:
    job, key = "their/job", {"b": "x/y", "a": "", "instance": "host:9100"}
    theirs.push_to_gateway(gateway.url, job, gauges("a"), key)
    assert names(gateway, job) == {"a"}
    assert pushadd_to_gateway(gateway.url, job, gauges("b"), key)
    assert names(gateway, job) == {"a", "b"}
    theirs.delete_from_gateway(gateway.url, job, key)
    assert becomes(lambda: names(gateway, job), set()) == set()


def test_their_handlers_work(gateway: Server) -> None:
    job = next(jobs)
    handler = partial(theirs.basic_auth_handler, username="joe", password="secret")
    assert push_to_gateway(gateway.url, job, gauges("a"), handler=handler)
    assert pushadd_to_gateway(
        gateway.url, job, gauges("b"), handler=theirs.passthrough_redirect_handler
    )
    assert names(gateway, job) == {"a", "b"}
    result = push_to_gateway(gateway.url, job, past(), handler=handler)
    assert (result.ok, result.status, result.attempts) == (False, 400, 1)


def test_instance_of_this_host(gateway: Server) -> None:
    job, key = next(jobs), instance_ip_grouping_key()
    assert push_to_gateway(gateway.url, job, gauges("a"), key)
    assert ("a", frozenset({("job", job), *key.items()})) in pushed(gateway, job)


def test_what_a_gateway_says_is_in_the_result(gateway: Server) -> None:
    result = push_to_gateway(gateway.url, next(jobs), past())
    assert (result.ok, result.status, result.attempts) == (False, 400, 1)
    assert "timestamp" in result.reason


def past() -> CollectorRegistry:
    """Return a registry with a timestamp, which no gateway takes."""
    family = GaugeMetricFamily("past", "It.")
    family.add_metric([], 1, timestamp=1.0)
    gauge = Gauge("past", "It.", registry=None)
    gauge.collect = lambda: [family]  # type: ignore[method-assign,assignment]
    registry = CollectorRegistry()
    registry.register(gauge)
    return registry


def test_a_prefix(gateway: Server) -> None:
    result = push_to_gateway(f"{gateway.url}/behind/", next(jobs), gauges("a"))
    assert (result.ok, result.status) == (False, 404)
