"""What families are in OpenTelemetry, and what a server gets of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import HistogramMetricFamily

from bridge.systems import Families, gauge, registry_of
from ports import free_port
from prom_middleware.bridge import Bridge
from prom_middleware.bridge.outgoing.otlp import Otlp
from waiting import becomes, eventually


class Receiving:
    """A server that takes OTLP, or refuses it for a while."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.requests.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"otlp+http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def metrics(self, place: int = -1) -> dict[str, Any]:
        (resource,) = self.requests[place].resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "prom_middleware.bridge"
        return {metric.name: metric for metric in scope.metrics}


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    receiving = Receiving()
    yield receiving
    receiving.server.shutdown()
    receiving.server.server_close()


def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["to"], registry=registry).labels("é x").inc(3)
    Gauge("temperature", "help", unit="celsius", registry=registry).set(-1.5)
    histogram = Histogram("wait", "help", buckets=[0.5, 2], registry=registry)
    for value in (0.1, 1, 1, 5):
        histogram.observe(value)
    Summary("size", "help", registry=registry).observe(10)
    Info("build", "help", registry=registry).info({"version": "1"})
    Enum("state", "help", states=["on", "off"], registry=registry)
    return registry


def test_families_keep_their_types_and_names(receiving: Receiving) -> None:
    with Bridge(receiving.url, registry()):
        assert eventually(lambda: receiving.requests, bool)
    found = receiving.metrics(0)
    assert found["calls_total"].description == "Calls."
    assert found["calls_total"].sum.is_monotonic
    assert found["calls_total"].sum.aggregation_temporality == 2  # cumulative
    (point,) = found["calls_total"].sum.data_points
    assert point.as_double == 3
    assert [(one.key, one.value.string_value) for one in point.attributes] == [("to", "é x")]
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    assert found["temperature_celsius"].unit == "celsius"
    assert found["temperature_celsius"].gauge.data_points[0].as_double == -1.5
    (point,) = found["wait"].histogram.data_points
    assert list(point.explicit_bounds) == [0.5, 2]
    assert list(point.bucket_counts) == [1, 2, 1]
    assert (point.count, point.sum) == (4, pytest.approx(7.1))
    assert not point.HasField("min")
    assert found["size_count"].sum.data_points[0].as_double == 1
    assert found["size_sum"].sum.is_monotonic
    assert found["build_info"].gauge.data_points[0].as_double == 1
    assert len(found["state"].gauge.data_points) == 2
    assert not [name for name in found if name.endswith("_created")]
    assert "prom_middleware_bridge_sent_samples_total" in found


def test_quantiles_are_gauges_and_times_are_kept() -> None:
    family = gauge("size", ({"quantile": "0.5"}, 2.0))
    family.type = "summary"
    family.samples = [family.samples[0]._replace(timestamp=5)]
    batch = Otlp("http://127.0.0.1").batch([family], 9.0)
    (metric,) = batch.content.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert (point.attributes, point.time_unix_nano) == ({"quantile": "0.5"}, 5_000_000_000)
    assert batch.samples == 1


def test_what_cannot_be_encoded_takes_no_other_with_it(receiving: Receiving) -> None:
    families = [gauge("read", ({"path": "caf\udce9.txt"}, 1.0)), gauge("fine", ({}, 2.0))]
    families[0].documentation = "\udce9"
    late, early = gauge("late", ({}, 1.0)), gauge("early", ({}, 1.0))
    late.samples = [late.samples[0]._replace(timestamp=1e12)]
    early.samples = [early.samples[0]._replace(timestamp=-5)]
    bare = gauge("bare", ({}, 3.0))
    bare.documentation = None  # type: ignore[assignment]
    bare.samples = [bare.samples[0]._replace(labels=None)]
    with Bridge(receiving.url, registry_of(*families, late, early, bare), interval=0.1):
        eventually(lambda: receiving.requests, bool)
    found = receiving.metrics()
    (attribute,) = found["read"].gauge.data_points[0].attributes
    assert attribute.value.string_value == "caf\ufffddce9.txt"
    assert found["fine"].gauge.data_points[0].as_double == 2
    assert found["bare"].gauge.data_points[0].as_double == 3
    assert not {"late", "early"} & set(found)


@pytest.mark.parametrize("buckets", [[("+Inf", 3)], [], [("1.0", 5), ("2.0", 4), ("+Inf", 3)]])
def test_strange_histograms_do_no_harm(buckets: list[tuple[str, float]]) -> None:
    family = HistogramMetricFamily("wait", "help")
    for bound, count in buckets:
        family.add_sample("wait_bucket", {"le": bound}, count)
    if not buckets:
        family.add_sample("wait_count", {}, 3)
    batch = Otlp("http://127.0.0.1").batch([family], 9.0)
    (metric,) = batch.content.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert point.count == 3
    assert math.isnan(point.sum)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert min(point.bucket_counts) >= 0


def test_what_a_server_refused_arrives_later(receiving: Receiving) -> None:
    receiving.status = 400  # those of 500 and more, the exporter tries again by itself
    with Bridge(receiving.url, Families(gauge("number", ({}, 1))), interval=0.1) as bridge:  # type: ignore[arg-type]
        assert eventually(lambda: bridge.health.failures["OSError"], bool)
        receiving.status = 200
        assert eventually(lambda: len(receiving.requests), lambda number: number > 2)
        assert becomes(lambda: bridge.health.connected, True)
    assert not bridge.health.dropped


def test_a_server_that_is_not_there_does_not_hold_up_the_end() -> None:
    to = f"otlp+http://user:secret@127.0.0.1:{free_port()}/v1/metrics"
    bridge = Bridge(to, registry_of(gauge("number", ({}, 1)))).start()
    assert "secret" not in bridge.health.to
    bridge.stop(0.5)
    assert eventually(lambda: bridge.health.dropped["stopped"], bool)
