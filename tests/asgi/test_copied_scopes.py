"""A copy of the scope: middleware has rewritten it, or the application asks itself."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi.driver import check, request, websocket
from asgi.starlette_app import hello
from metrics import collected, in_progress, records, value
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class Stripped:
    """Takes a prefix from the path."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "").removeprefix("/v1")
        await self.app({**scope, "path": path}, receive, send)


class Rooted(Stripped):
    """Says that a prefix is a proxy's."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "root_path": "/v1"}, receive, send)


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def rewriting(registry: CollectorRegistry, middleware: Any) -> Any:
    routes = [
        Route("/users/{id}", hello),
        Mount("/m", routes=[Route("/a/{b}", hello)]),
        WebSocketRoute("/talk/{id}", talk),
    ]
    return instrument(
        Starlette(routes=routes, middleware=[Middleware(middleware)]), registry=registry
    )


@pytest.mark.parametrize("middleware", [Stripped, Rooted])
@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/v1/users/1", "/users/{id}", 200),
        ("/v1/m/a/1", "/m/a/{b}", 200),
        ("/v1/m/nope", "/m/{path}", 404),
        ("/v1/nope", "<unmatched>", 404),
    ],
)
def test_what_middleware_made_of_the_path_is_what_is_routed(
    registry: CollectorRegistry, middleware: Any, path: str, route: str, status: int
) -> None:
    app = rewriting(registry, middleware)
    assert request(app, path).status == status
    check(registry, [("GET", route, status, "", "complete")])
    assert [one.cls for one in app.user_middleware] == [middleware]


def test_a_websocket_whose_scope_was_copied(registry: CollectorRegistry) -> None:
    websocket(rewriting(registry, Stripped), "/v1/talk/1")
    samples = collected(registry)
    assert value(samples, "websocket_connections_total", {"route": "/talk/{id}"}) == 1


def test_the_root_path_that_fastapi_is_told_is_above_no_route(registry: CollectorRegistry) -> None:
    """It is what a proxy takes away, and no mount between the doors."""
    inner = FastAPI()
    inner.root_path = "/proxied"
    inner.add_middleware(PrometheusMiddleware, registry=registry)
    inner.add_api_route("/users/{id}", hello)

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await inner(dict(scope), receive, send)

    request(PrometheusMiddleware(copying, registry=registry), "/users/1")
    check(registry, [("GET", "/users/{id}", 200, "", "complete")])


def dispatching(inner: Any) -> Any:
    """Return what takes "/s" from the path as hypercorn's dispatcher does."""

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/s"}, receive, send)

    return dispatch


def below(registry: CollectorRegistry, place: str) -> Any:
    """Return an application that has one with such middleware below it."""
    inner = Starlette(
        routes=[Route("/a/{x}", hello), WebSocketRoute("/talk/{id}", talk)],
        middleware=[Middleware(Replaced)],
    )
    inner = instrument(inner, registry=registry)
    outer = dispatching(inner) if place == "dispatched" else Starlette(routes=[Mount("/s", inner)])
    return instrument(outer, registry=registry)


class Replaced(Stripped):
    """Leaves out a language, wherever it stands."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "path": scope["path"].replace("/en/", "/")}, receive, send)


@pytest.mark.parametrize("place", ["mounted", "dispatched"])
def test_middleware_of_an_application_further_in(registry: CollectorRegistry, place: str) -> None:
    app = below(registry, place)
    for path in ("/s/en/a/1", "/s/a/1"):
        assert request(app, path).status == 200
    check(registry, [("GET", "/s/a/{x}", 200, "", "complete")] * 2)
    websocket(app, "/s/en/talk/1")
    samples = collected(registry)
    assert value(samples, "websocket_connections_total", {"route": "/s/talk/{id}"}) == 1


class Batch(Stripped):
    """Asks for many things by one request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def ignore(_: Any) -> None:
            pass

        for number in range(50):
            path = scope["path"].replace("/batch", f"/a/{number}")
            await self.app({**scope, "method": "GET", "path": path}, receive, ignore)
        await PlainTextResponse("all")(scope, receive, send)


@pytest.mark.parametrize(("prefix", "route"), [("", "<unmatched>"), ("/m", "/m/{path}")])
def test_a_batch_of_other_requests_does_not_name_it(
    registry: CollectorRegistry, prefix: str, route: str
) -> None:
    app = Starlette(routes=[Route("/a/{x}", hello)], middleware=[Middleware(Batch)])
    app = instrument(app, registry=registry)
    if prefix:  # so there are two doors
        app = instrument(Starlette(routes=[Mount(prefix, app)]), registry=registry)
    assert request(app, f"{prefix}/batch", "POST").status == 200
    check(registry, [("POST", route, 200, "", "complete")])


class Tries(Stripped):
    """Asks again and again, and for what it was asked for in the end."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def ignore(_: Any) -> None:
            pass

        for number in range(3000):
            await self.app({**scope, "path": f"/none/{number}"}, receive, ignore)
        path = scope["path"].removeprefix("/last")
        await self.app({**scope, "path": path}, receive, send)


@pytest.mark.parametrize(
    ("path", "route", "status"), [("/s/a/1", "/s/a/{x}", 200), ("/none", "<unmatched>", 404)]
)
def test_of_thousands_of_copies_the_last_one_names_the_request(
    registry: CollectorRegistry, path: str, route: str, status: int
) -> None:
    inner = Starlette(routes=[Route("/a/{x}", hello)], middleware=[Middleware(Replaced)])
    inner = instrument(inner, registry=registry)
    app = Starlette(routes=[Mount("/s", inner)], middleware=[Middleware(Tries)])
    assert request(instrument(app, registry=registry), f"/last{path}").status == status
    check(registry, [("GET", route, status, "", "complete")])


def bundling(registry: CollectorRegistry, door: str) -> Any:
    async def bundle(request: Request) -> Response:
        async def collect(message: Any) -> None:
            pass

        for number in (1, 2):
            scope = {**request.scope, "path": f"/users/{number}"}
            await request.app(scope, request.receive, collect)
        return PlainTextResponse("both")

    app: Any = Starlette(routes=[Route("/bundle", bundle), Route("/users/{id}", hello)])
    if door == "around":
        return instrument(app, registry=registry)
    app.add_middleware(PrometheusMiddleware, registry=registry)
    return app


@pytest.mark.parametrize("door", ["added", "around"])
def test_a_bundle_by_the_same_method(registry: CollectorRegistry, door: str) -> None:
    assert request(bundling(registry, door), "/bundle").status == 200
    got = [("GET", "/users/{id}", 200, "", "complete")]
    assert sorted(records(registry)) == [("GET", "/bundle", 200, "", "complete"), *got, *got]
    assert in_progress(registry) == 0


def test_a_request_that_is_sent_once_more_by_another_path_is_the_same(
    registry: CollectorRegistry,
) -> None:
    """As a fallback to a page that there is always: nothing was routed before."""

    async def fallback(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "path": "/users/1"}, receive, send)

    app = PrometheusMiddleware(Starlette(routes=[Route("/users/{id}", hello)]), registry=registry)
    request(app.around(fallback), "/nope")
    check(registry, [("GET", "/users/{id}", 200, "", "complete")])
