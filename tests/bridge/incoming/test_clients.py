"""Clients of StatsD from elsewhere send to the listener."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import statsd
from datadog.dogstatsd.base import DogStatsd
from prometheus_client import CollectorRegistry

from bridge.incoming.sending import sample, shown
from prom_middleware.bridge import StatsdCollector
from prom_middleware.bridge.incoming.listener import Listener
from waiting import eventually

LOCAL = ("127.0.0.1", 0)


class Running:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.receiver = StatsdCollector(registry=self.registry)
        self.listener: Listener = self.receiver.listen(udp=LOCAL, tcp=LOCAL)

    def shown(self, last: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return the samples once the one that was sent last is there; nothing may be lost."""
        samples, lost = eventually(
            lambda: shown(self.registry, self.receiver), lambda found: sample(last) in found[0]
        )
        assert not lost
        return samples


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.receiver.stop()


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_statsd(running: Running, kind: str) -> None:
    assert running.listener.udp
    assert running.listener.tcp
    host, port = getattr(running.listener, kind)
    client = {"udp": statsd.StatsClient, "tcp": statsd.TCPStatsClient}[kind](host, port, "app")
    client.incr("calls", 3)
    client.gauge("load", 1.5)
    client.gauge("load", -0.5, delta=True)
    client.timing("wait", 320)
    client.set("users", "ann")
    with client.pipeline() as batch:
        batch.incr("batched", 2)
        batch.incr("batched", 2)
    client.incr("last")
    client.close()
    samples = running.shown("app_last_total")
    assert samples[sample("app_calls_total")] == 3
    assert samples[sample("app_load")] == 1
    assert samples[sample("app_wait_sum")] == pytest.approx(0.32)
    assert samples[sample("app_users")] == 1
    assert samples[sample("app_batched_total")] == 4


def test_datadog(running: Running) -> None:
    assert running.listener.udp
    host, port = running.listener.udp
    client = DogStatsd(host=host, port=port, disable_telemetry=True, origin_detection_enabled=False)
    tags = ["path:/a:b", "method:GET"]
    client.increment("calls", 2, tags=tags)
    client.decrement("calls", -1, tags=tags)
    client.gauge("load", 0.5, tags=tags)
    client.histogram("size", 100, tags=tags)
    client.distribution("size", 300, tags=tags)
    client.timing("wait", 250, tags=tags)
    client.set("users", "ann", tags=tags)
    client.increment("last")
    client.flush()
    samples = running.shown("last_total")
    labels = {"path": "/a:b", "method": "GET"}
    assert samples[sample("calls_total", **labels)] == 3
    assert samples[sample("load", **labels)] == 0.5
    assert samples[sample("size_sum", **labels)] == 400
    assert samples[sample("size", quantile="0.5", **labels)] == 100
    assert samples[sample("wait_sum", **labels)] == 0.25
    assert samples[sample("users", **labels)] == 1
    client.close_socket()
