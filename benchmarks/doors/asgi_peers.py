"""Other packages' middleware for ASGI applications.

Imported by the cases that have them: what they load, OpenTelemetry above all, changes what our own
door does in the same process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import aioprometheus
from aioprometheus import MetricsMiddleware
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette_exporter import PrometheusMiddleware as StarletteExporter
from starlette_exporter.optional_metrics import request_body_size, response_body_size

from benchmarks.counting import Called, otel, samples
from benchmarks.rounds import PEER, Contender

if TYPE_CHECKING:
    from benchmarks.doors.asgi import Bench

NO_LATENCY = "counters only, no latency"


def raw_peers(bench: Bench) -> Iterator[Contender]:
    """Yield those that need no framework."""
    registry = aioprometheus.Registry()
    yield _aioprometheus(bench, MetricsMiddleware(bench.make(), registry=registry), registry)
    yield _otel_asgi(bench, None)


def starlette_peers(bench: Bench) -> Iterator[Contender]:
    """Yield those that know Starlette."""
    yield from _framework_peers(bench)
    yield _otel_asgi(bench, bench.route)


def fastapi_peers(bench: Bench) -> Iterator[Contender]:
    """Yield those that know FastAPI."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    yield from _framework_peers(bench)
    app, (provider, points) = bench.make(), otel()
    FastAPIInstrumentor.instrument_app(
        app, meter_provider=provider, exclude_spans=["receive", "send"]
    )
    name = "opentelemetry-instrumentation-fastapi"
    yield bench.contender(name, PEER, app, points(bench.route))


def _framework_peers(bench: Bench) -> Iterator[Contender]:
    yield _instrumentator(bench)
    yield _starlette_exporter(bench)
    app, registry = bench.make(), aioprometheus.Registry()
    app.add_middleware(MetricsMiddleware, registry=registry)
    yield _aioprometheus(bench, app, registry)


def _instrumentator(bench: Bench) -> Contender:
    app, registry = bench.make(), CollectorRegistry()
    instrumentator = Instrumentator(
        should_group_status_codes=False,
        should_instrument_requests_inprogress=True,
        # This one gauge goes to the default registry, whatever `registry` is.
        inprogress_name=f"inprogress_{bench.routes}",
        inprogress_labels=True,
        registry=registry,
    )
    # Its default metrics have no route on the detailed histogram; these are the comparable ones.
    for metric in (metrics.latency, metrics.requests, metrics.request_size, metrics.response_size):
        instrumentator.add(metric(registry=registry))
    instrumentator.instrument(app)
    name = "prometheus-fastapi-instrumentator"
    count = samples(
        registry, "http_requests_total", method="GET", handler=bench.route, status="200"
    )
    return bench.contender(name, PEER, app, count)


def _starlette_exporter(bench: Bench) -> Contender:
    app, prefix = bench.make(), f"starlette_{bench.routes}"
    app.add_middleware(
        StarletteExporter,
        prefix=prefix,
        group_paths=True,
        optional_metrics=[request_body_size, response_body_size],
    )
    name = f"{prefix}_request_duration_seconds_count"
    count = samples(REGISTRY, name, method="GET", path=bench.route, status_code="200")
    return bench.contender("starlette-exporter", PEER, app, count)


def _aioprometheus(bench: Bench, app: Any, registry: Any) -> Contender:
    labels = {"method": "GET", "path": bench.route, "status_code": "200"}

    def counted() -> float:
        return float(registry.get("status_codes_counter").get(labels))

    count = Called(counted)
    return bench.contender("aioprometheus", PEER, app, count, note=NO_LATENCY, latency=False)


def _otel_asgi(bench: Bench, target: str | None) -> Contender:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    provider, points = otel()
    app = OpenTelemetryMiddleware(
        bench.make(), meter_provider=provider, exclude_spans=["receive", "send"]
    )
    name = "opentelemetry-instrumentation-asgi"
    return bench.contender(name, PEER, app, points(target))
