"""Real systems take what a bridge sends."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from math import ceil, log2
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary

from bridge.systems import Victoria, carbon, registry_of, victoria, whisper_value
from prom_middleware.bridge import Bridge, GraphiteBridge
from prom_middleware.instrumentation.families import BlockFamily, Native, Row
from servers.newer import newer_program
from waiting import becomes, eventually

pytestmark = pytest.mark.real
Real = Callable[[str, str], str]


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("temperature", "help", ["room"], registry=registry).labels("hall 1").set(21.5)
    Counter("calls", "help", registry=registry).inc(3)
    Histogram("wait_seconds", "help", buckets=[0.5, 2], registry=registry).observe(1)
    Summary("size_bytes", "help", registry=registry).observe(10)
    return registry


def test_carbon_writes_what_the_bridge_sends(
    tmp_path: Path, real_program: Real, registry: CollectorRegistry
) -> None:
    program = real_program("carbon-cache", "graphite-carbon")
    fetch = real_program("whisper-fetch", "python3-whisper")
    with carbon(program, tmp_path) as (port, files):
        with Bridge(f"graphite://127.0.0.1:{port}", registry, interval=1, prefix="app"):
            expected = {
                "app/temperature/room/hall_1.wsp": 21.5,
                "app/calls_total.wsp": 3.0,
                "app/wait_seconds_bucket/le/0_5.wsp": 0.0,
                "app/wait_seconds_bucket/le/_Inf.wsp": 1.0,
                "app/size_bytes_sum.wsp": 10.0,
            }
            found = becomes(
                lambda: {path: whisper_value(fetch, files / path) for path in expected},
                expected,
                60.0,
            )
        assert found == expected


def test_carbon_takes_one_push_of_the_bridge_that_prometheus_client_has(
    tmp_path: Path, real_program: Real, registry: CollectorRegistry
) -> None:
    program = real_program("carbon-cache", "graphite-carbon")
    fetch = real_program("whisper-fetch", "python3-whisper")
    with carbon(program, tmp_path) as (port, files):
        GraphiteBridge(("127.0.0.1", port), registry).push("once")
        path = files / "once/calls_total.wsp"
        assert becomes(lambda: whisper_value(fetch, path), 3.0, 60.0) == 3.0


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    with victoria(newer_program("victoria-metrics"), tmp_path_factory.mktemp("victoria")) as found:
        yield found


def test_victoria_metrics_takes_lines_with_tags(
    metrics: Victoria, registry: CollectorRegistry
) -> None:
    expected = {
        ("tagged.temperature", "", "hall_1"): 21.5,
        ("tagged.calls_total", "", ""): 3,
        ("tagged.wait_seconds_bucket", "0.5", ""): 0,
        ("tagged.wait_seconds_bucket", "+Inf", ""): 1,
    }
    with Bridge(
        f"graphite://127.0.0.1:{metrics.graphite_port}", registry, tags=True, prefix="tagged"
    ):
        # It may have read a part of them at first.
        found = eventually(
            lambda: metrics.flushed().values('{__name__=~"tagged.+"}', "__name__", "le", "room"),
            lambda found: expected.items() <= found.items(),
        )
    assert expected.items() <= found.items()


def test_victoria_metrics_takes_otlp(metrics: Victoria, registry: CollectorRegistry) -> None:
    to = f"otlp+{metrics.server.url}/opentelemetry/v1/metrics"
    with Bridge(to, registry) as bridge:
        assert eventually(lambda: bridge.health.sent, bool), bridge.health.failures
        found = eventually(
            lambda: metrics.flushed().values('{__name__!~".*[.].*"}', "__name__", "le", "room"),
            lambda found: ("calls_total", "", "") in found,
        )
    assert found["calls_total", "", ""] == 3
    assert found["temperature", "", "hall 1"] == 21.5
    assert found["wait_seconds_count", "", ""] == 1
    assert found["wait_seconds_sum", "", ""] == 1
    assert found["wait_seconds_bucket", "0.5", ""] == 0
    assert found["wait_seconds_bucket", "2", ""] == 1
    assert found["size_bytes_sum", "", ""] == 10


SECONDS = (0.0, 0.002, 0.002, 0.03, 0.031, 0.08, 0.08, 0.08, 0.5, 7.0)
GROWTH = 2 ** (1 / 2**3)  # from one bucket of schema 3 to the next


def natively(seconds: Sequence[float]) -> BlockFamily:
    """Return the family of a native and a classic histogram that have counted `seconds`."""
    indexes = Counts(ceil(log2(one) * 8) for one in seconds if one)
    native = Native(3, 2.0**-128, seconds.count(0.0), indexes)
    everything = float(len(seconds))
    row = Row((), (0.0, everything, everything, sum(seconds)), 0.0, None, native)
    family = Metric("native_seconds", "Took.", "histogram", "seconds")
    return BlockFamily(family, (), (0.1,), lambda: [row])


def test_victoria_metrics_takes_native_histograms(metrics: Victoria) -> None:
    """Each second is in a bucket that begins below it and ends above it, and so are quantiles."""
    to = f"otlp+{metrics.server.url}/opentelemetry/v1/metrics"
    with Bridge(to, registry_of(natively(SECONDS))) as bridge:
        assert eventually(lambda: bridge.health.sent, bool), bridge.health.failures
        found = eventually(
            lambda: metrics.flushed().values('{__name__=~"native_.+"}', "__name__", "vmrange"), bool
        )
    assert found.pop(("native_seconds_count", "")) == len(SECONDS)
    assert found.pop(("native_seconds_sum", "")) == pytest.approx(sum(SECONDS))
    counted = {tuple(map(float, bounds.split("..."))): n for (_, bounds), n in found.items()}
    for second in SECONDS:
        ((low, high),) = [(low, high) for low, high in counted if low <= second <= high]
        counted[low, high] -= 1
        assert high <= low * GROWTH * 1.001 or second == 0  # of four digits
    assert set(counted.values()) == {0}
    for quantile, second in ((0.25, 0.002), (0.45, 0.031), (0.75, 0.08), (1, 7.0)):
        query = f"histogram_quantile({quantile}, sum by (vmrange) (native_seconds_bucket))"
        ((_, shown),) = metrics.query(query)
        assert second / GROWTH <= shown <= second * GROWTH
