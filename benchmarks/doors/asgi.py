"""ASGI applications: a raw one, Starlette and FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks import traffic
from benchmarks.counting import Called, Count, samples
from benchmarks.limits import PassASGI, RecordedASGI, TimedASGI
from benchmarks.rounds import OURS, PASS, RECORDER, TIMER, Case, Contender
from prom_middleware.asgi import PrometheusMiddleware

Make = Callable[[], Any]
Drive = Callable[[Any, str], Callable[[int], float]]  # an application and a path: make n requests
LOOP = asyncio.new_event_loop()


def called(app: Any, path: str) -> Callable[[int], float]:
    """Return what calls an application, without a server."""
    return traffic.asgi(app, path, LOOP)


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

    def __init__(self, make: Make, routes: int, routed: bool, drive: Drive = called) -> None:
        self.make = make
        self.routes = routes
        self._drive = drive
        self._path = traffic.path(routes)
        # What peers call the route: without a framework there is none, and they use the path.
        self.route = traffic.template(routes - 1) if routed else self._path

    def contender(
        self, name: str, role: str, app: Any, count: Count | None = None, **more: Any
    ) -> Contender:
        """Return a contender that serves `app`."""
        return Contender(name, role, self._drive(app, self._path), count, **more)

    def case(self, peers: Callable[[Bench], Iterator[Contender]], route: str) -> Case:
        """Return the case; `route` is what our own door calls it."""
        # One application for all that only wraps it: with 500 routes each, they would take turns in
        # the processor's caches. Most of the peers change their application.
        app, registry = self.make(), CollectorRegistry()
        timed, recorded = TimedASGI(app), RecordedASGI(app, _templates(app))
        ours = PrometheusMiddleware(app, registry=registry)
        count = samples(registry, "http_requests_total", method="GET", route=route, status="200")
        contenders = [
            self.contender(PASS, PASS, PassASGI(app)),
            self.contender(TIMER, TIMER, timed, Called(timed.count)),
            self.contender(RECORDER, RECORDER, recorded, Called(recorded.count)),
            self.contender("prom_middleware", OURS, ours, count),
            *peers(self),
        ]
        return Case(self.routes, self.contender("bare", "bare", app), contenders)


def _templates(app: Any) -> dict[Any, str]:
    """Return each endpoint's template; no endpoint is that of an application without routes."""
    routes = (route for route in getattr(app, "routes", ()) if hasattr(route, "endpoint"))
    return {None: "<unmatched>", **{route.endpoint: route.path for route in routes}}


def raw(routes: tuple[int, ...]) -> list[Case]:
    """Return the case of the raw application, which has no routes, in a process without peers."""
    return [Bench(raw_app, 1, routed=False).case(_no_peers, "<unmatched>")]


def raw_beside_peers(routes: tuple[int, ...]) -> list[Case]:
    """Return the same case with what its peers import, OpenTelemetry among it."""
    from benchmarks.doors.asgi_peers import raw_peers

    return [Bench(raw_app, 1, routed=False).case(raw_peers, "<unmatched>")]


def starlette(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Starlette."""
    from benchmarks.doors.asgi_peers import starlette_peers

    return [_case(partial(starlette_app, n), n, starlette_peers) for n in routes]


def fastapi(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of FastAPI."""
    from benchmarks.doors.asgi_peers import fastapi_peers

    return [_case(partial(fastapi_app, n), n, fastapi_peers) for n in routes]


def _case(make: Make, routes: int, peers: Callable[[Bench], Iterator[Contender]]) -> Case:
    return Bench(make, routes, routed=True).case(peers, traffic.template(routes - 1))


def _no_peers(_: Bench) -> Iterator[Contender]:
    return iter(())
