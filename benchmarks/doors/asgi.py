"""ASGI applications: a raw one, Starlette and FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import aioprometheus
from aioprometheus import MetricsMiddleware
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette_exporter import PrometheusMiddleware as StarletteExporter
from starlette_exporter.optional_metrics import request_body_size, response_body_size

from benchmarks import traffic
from benchmarks.counting import Called, Count, otel, samples
from benchmarks.limits import PassASGI, TimedASGI
from benchmarks.rounds import OURS, PASS, PEER, TIMER, Case, Contender
from prom_middleware.asgi import PrometheusMiddleware

Make = Callable[[], Any]
NO_LATENCY = "counters only, no latency"
LOOP = asyncio.new_event_loop()


def raw_app() -> Any:
    """Return an application without a framework."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(traffic.BODY)),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": traffic.BODY})

    return app


def starlette_app(routes: int) -> Any:
    """Return a Starlette application."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def endpoint() -> Any:
        async def item(request: Any) -> JSONResponse:
            return JSONResponse({**traffic.DATA, "id": request.path_params["item_id"]})

        return item

    return Starlette(routes=[Route(traffic.template(n), endpoint()) for n in range(routes)])


def fastapi_app(routes: int) -> Any:
    """Return a FastAPI application."""
    from fastapi import FastAPI

    def endpoint() -> Any:
        async def item(item_id: str) -> dict[str, Any]:
            return {**traffic.DATA, "id": item_id}

        return item

    app = FastAPI()
    for number in range(routes):
        app.get(traffic.template(number))(endpoint())
    return app


class Bench:
    """What all contenders of one case have in common."""

    def __init__(self, make: Make, routes: int, routed: bool) -> None:
        self.make = make
        self.routes = routes
        self._path = traffic.path(routes)
        # What peers call the route: without a framework there is none, and they use the path.
        self.route = traffic.template(routes - 1) if routed else self._path

    def contender(
        self, name: str, role: str, app: Any, count: Count | None = None, **more: Any
    ) -> Contender:
        """Return a contender that serves `app`."""
        drive = traffic.asgi(app, self._path, LOOP)
        return Contender(name, role, drive, count, **more)

    def case(self, peers: Callable[[Bench], Iterator[Contender]], route: str) -> Case:
        """Return the case; `route` is what our own door calls it."""
        timed, registry = TimedASGI(self.make()), CollectorRegistry()
        ours = PrometheusMiddleware(self.make(), registry=registry)
        count = samples(registry, "http_requests_total", method="GET", route=route, status="200")
        contenders = [
            self.contender(PASS, PASS, PassASGI(self.make())),
            self.contender(TIMER, TIMER, timed, Called(timed.count)),
            self.contender("prom_middleware", OURS, ours, count),
            *peers(self),
        ]
        return Case(self.routes, self.contender("bare", "bare", self.make()), contenders)


def raw(routes: tuple[int, ...]) -> list[Case]:
    """Return the case of the raw application, which has no routes."""
    return [Bench(raw_app, 1, routed=False).case(_raw_peers, "<unmatched>")]


def starlette(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Starlette."""
    return [
        Bench(partial(starlette_app, n), n, routed=True).case(
            _starlette_peers, traffic.template(n - 1)
        )
        for n in routes
    ]


def fastapi(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of FastAPI."""
    return [
        Bench(partial(fastapi_app, n), n, routed=True).case(_fastapi_peers, traffic.template(n - 1))
        for n in routes
    ]


def starlette_routed(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Starlette's routes, see `_routed`."""
    return [_routed(partial(starlette_app, n), n) for n in routes]


def fastapi_routed(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of FastAPI's routes, see `_routed`."""
    return [_routed(partial(fastapi_app, n), n) for n in routes]


def _routed(make: Make, routes: int) -> Case:
    """Return a case in which the framework's own matching takes no time.

    With 500 routes that matching takes a hundred times as long as a middleware, and its noise hides
    what the middleware does. Here the scope is filled in as the framework's router leaves it.
    """

    def app() -> Any:
        framework, answer = make(), raw_app()
        route = framework.routes[-1]
        found = {
            "app": framework,
            "router": framework.router,
            "route": route,
            "endpoint": route.endpoint,
            "path_params": {"item_id": "42"},
        }

        async def routed(scope: Any, receive: Any, send: Any) -> None:
            scope.update(found)
            await answer(scope, receive, send)

        return routed

    return Bench(app, routes, routed=True).case(lambda _: iter(()), traffic.template(routes - 1))


def _raw_peers(bench: Bench) -> Iterator[Contender]:
    registry = aioprometheus.Registry()
    yield _aioprometheus(bench, MetricsMiddleware(bench.make(), registry=registry), registry)
    yield _otel_asgi(bench, None)


def _starlette_peers(bench: Bench) -> Iterator[Contender]:
    yield from _framework_peers(bench)
    yield _otel_asgi(bench, bench.route)


def _fastapi_peers(bench: Bench) -> Iterator[Contender]:
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
