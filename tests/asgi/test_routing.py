"""Mounted applications whose routes are of another framework's kind, or cannot be seen at all."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from asgi.driver import check, ok, request, websocket
from asgi.opaque import (
    Anew,
    Group,
    Versions,
    between,
    closure,
    deep,
    starlette,
    users,
)
from asgi.starlette_app import hello
from metrics import collected, records, value
from prom_middleware import failures, instrument
from prom_middleware.asgi import PrometheusMiddleware

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# Other frameworks.


class LikeLitestar:
    """As litestar.Litestar: its `routes` have a `path_format`, and no endpoint."""

    class HTTPRoute:
        path, path_format, methods = "/books/{id:int}", "/books/{id}", {"GET"}

    def __init__(self) -> None:
        self.routes = [self.HTTPRoute()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)


class ByMethod(LikeLitestar):
    """Its `routes` is a method."""

    def routes(self) -> list[Any]:  # type: ignore[override]
        return []

    def __init__(self) -> None:
        pass


class Unlike(LikeLitestar):
    """Its routes have all the names, and other things under them."""

    class HTTPRoute:
        path_format, path_regex, endpoint = "/books/{id}", "/books/.*", ok


class Raising(LikeLitestar):
    """Its `routes` are not for everybody."""

    @property
    def routes(self) -> list[Any]:  # type: ignore[override]
        raise RuntimeError("not outside of a request")

    def __init__(self) -> None:
        pass


class LikeAsgiTools:
    """As asgi_tools.App: its router takes any name for a method, and gives a decorator for it."""

    class Router:
        def __getattr__(self, name: str) -> Any:
            return lambda path: lambda endpoint: endpoint

    def __init__(self) -> None:
        self.router = self.Router()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["app"] = self
        await ok(scope, receive, send)


FOREIGN = [(LikeLitestar, 0), (ByMethod, 0), (Unlike, 1), (Raising, 3)]


@pytest.mark.parametrize(("foreign", "failing"), FOREIGN)
def test_another_framework_s_routes_take_nothing_from_ours(
    registry: CollectorRegistry, foreign: type[LikeLitestar], failing: int
) -> None:
    mounts = [Mount("/lit", foreign()), Mount("/ours", routes=[Route("/y", hello)])]
    app = instrument(Starlette(routes=[Route("/x/{a}", hello), *mounts]), registry=registry)
    before = failures.counts().get("route", 0)
    for target in ("/x/1", "/ours/y", "/x/2"):
        assert request(app, target, failing=True).status == 200
    routes = ("/ours/y", "/x/{a}", "/x/{a}")
    check(registry, [(GET, route, 200, "", "complete") for route in routes])
    assert failures.counts().get("route", 0) - before == failing


@pytest.mark.parametrize("foreign", [LikeLitestar, ByMethod, Unlike])
def test_another_framework_is_named_by_its_mount(
    registry: CollectorRegistry, foreign: type[LikeLitestar]
) -> None:
    app = instrument(Starlette(routes=[Mount("/lit", foreign())]), registry=registry)
    request(app, "/lit/books/1", failing=True)
    check(registry, [(GET, "/lit/{path}", 200, "", "complete")])


@pytest.mark.parametrize("foreign", [LikeLitestar, LikeAsgiTools])
def test_another_framework_s_routes_are_no_failure(
    registry: CollectorRegistry, foreign: type[Any]
) -> None:
    request(instrument(foreign(), registry=registry), "/books/1")
    check(registry, [(GET, "<unmatched>", 200, "", "complete")])


def test_a_group_of_routes_is_no_failure(registry: CollectorRegistry) -> None:
    group = Group(Route("/x/{a}", partial(hello)))
    app = instrument(Starlette(routes=[group, Route("/y", hello)]), registry=registry)
    before = failures.counts()
    for target in ("/x/1", "/y", "/x/2"):
        assert request(app, target).status == 200
    assert failures.counts() == before
    labels = {"route": "/y", "status": "200"}
    assert value(collected(registry), "http_requests_total", labels) == 1


# Mounts that do not show what they lead to.


class LikeSocketio:
    """As socketio.ASGIApp, which keeps the application in `other_asgi_app`."""

    def __init__(self, app: Any) -> None:
        self.other_asgi_app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.other_asgi_app(scope, receive, send)


def user(id: int) -> int:  # noqa: A002
    return id


def fastapi() -> Any:
    app = FastAPI(routes=[deep()])
    app.get("/users/{id}")(user)
    return app


# (method, target below the mount, template below the mount, status)
BELOW = [
    ("GET", "/users/1", "/users/{id}", 200),
    ("POST", "/users/1", "/users/{id}", 405),
    ("GET", "/m/1/users/2", "/m/{t}/users/{id}", 200),
    ("GET", "/m/1/nope", "/m/{t}/{path}", 404),
    ("GET", "/nope", "/{path}", 404),
]
MOUNTS = [("/api", "/api"), ("/{tenant}", "/acme"), ("/{tenant}/api", "/acme/api")]


@pytest.mark.parametrize(("method", "target", "template", "status"), BELOW)
@pytest.mark.parametrize("inner", [fastapi, starlette])
@pytest.mark.parametrize("opaque", [closure, Versions, LikeSocketio])
def test_what_is_below_an_opaque_mount(
    registry: CollectorRegistry,
    opaque: Any,
    inner: Any,
    method: str,
    target: str,
    template: str,
    status: int,
) -> None:
    for mount, path in MOUNTS:
        for root in ("", "/front"):
            app = Starlette(routes=[Route("/users/{id}", hello), Mount(mount, opaque(inner()))])
            door = PrometheusMiddleware(app, registry=registry)
            answer = request(door, f"{root}{path}{target}", method, root_path=root)
            assert answer.status == status
            labels = {"method": method, "route": mount + template, "status": str(status)}
            count = value(collected(registry), "http_requests_total", labels)
            assert count == (1 if root == "" else 2), (mount, root)


@pytest.mark.parametrize("opaque", [closure, Versions, LikeSocketio])
def test_below_an_opaque_mount_where_the_path_lacks_the_root_path(
    registry: CollectorRegistry, opaque: Any
) -> None:
    inner = Starlette(routes=[Route("/api/users/{id}", hello), Route("/users/{id}", hello)])
    app = Starlette(routes=[Mount("/api", opaque(inner))])
    door = PrometheusMiddleware(app, registry=registry)
    for target, template, status in (
        ("/api/users/1", "/api/api/users/{id}", 200),
        ("/api/nope", "/api/{path}", 404),
    ):
        assert request(door, target, root_path="/front").status == status
        labels = {"method": "GET", "route": template, "status": str(status)}
        assert value(collected(registry), "http_requests_total", labels) == 1


@pytest.mark.parametrize("inner", [fastapi, starlette])
@pytest.mark.parametrize("first", ["/plain", "/api"])
def test_an_application_that_is_also_mounted_in_sight(
    registry: CollectorRegistry, inner: Any, first: str
) -> None:
    both = instrument(inner(), registry=registry)
    mounts = [Mount("/plain", both), Mount("/api", closure(both))]
    app = Starlette(routes=sorted(mounts, key=lambda mount: mount.path != first))
    door = instrument(app, registry=registry)
    for target in ("/api/users/1", "/plain/users/1", "/api/m/1/users/2", "/plain/nope"):
        request(door, target)
    routes = ("/api/m/{t}/users/{id}", "/api/users/{id}", "/plain/users/{id}", "/plain/{path}")
    check(registry, [("GET", r, 404 if "path" in r else 200, "", "complete") for r in routes])


def test_the_same_endpoint_outside_and_below_an_opaque_mount(registry: CollectorRegistry) -> None:
    app, inner = FastAPI(), FastAPI()
    for one in (app, inner):
        one.get("/users/{id}")(user)
    app.mount("/admin", closure(inner))
    for target in ("/users/1", "/admin/users/1"):
        request(instrument(app, registry=registry), target)
    routes = ("/admin/users/{id}", "/users/{id}")
    check(registry, [("GET", route, 200, "", "complete") for route in routes])


def test_two_opaque_mounts_of_one_application(registry: CollectorRegistry) -> None:
    inner = starlette()
    app = Starlette(routes=[Mount("/a", closure(inner)), Mount("/b/c", closure(inner))])
    door = instrument(app, registry=registry)
    for target in ("/a/users/1", "/b/c/users/1", "/a/users/2"):
        request(door, target)
    routes = ("/a/users/{id}", "/a/users/{id}", "/b/c/users/{id}")
    check(registry, [("GET", route, 200, "", "complete") for route in routes])


def test_routes_that_are_added_below_an_opaque_mount(registry: CollectorRegistry) -> None:
    inner = FastAPI()
    app = instrument(Starlette(routes=[Mount("/api", closure(inner))]), registry=registry)
    request(app, "/api/users/1")
    inner.get("/users/{id}")(user)
    request(app, "/api/users/1")
    expected = [("/api/users/{id}", 200), ("/api/{path}", 404)]
    check(registry, [("GET", route, status, "", "complete") for route, status in expected])


def test_an_opaque_mount_that_is_added(registry: CollectorRegistry) -> None:
    app, inner = FastAPI(), FastAPI()
    for one in (app, inner):
        one.get("/users/{id}")(user)
    door = instrument(app, registry=registry)
    request(door, "/users/1")
    app.mount("/admin", closure(inner))
    request(door, "/admin/users/1")
    routes = ("/admin/users/{id}", "/users/{id}")
    check(registry, [("GET", route, 200, "", "complete") for route in routes])


def rewriting(app: Any) -> Any:
    """A dispatcher that has a prefix of its own, in a copy of the scope."""

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": f"{scope['root_path']}/v1"}, receive, send)

    return dispatch


def nested(app: Any) -> Any:
    return closure(Starlette(routes=[Mount("/v1", closure(app))]))


@pytest.mark.parametrize("opaque", [rewriting, nested, between])
def test_what_stands_between_is_not_made_up(registry: CollectorRegistry, opaque: Any) -> None:
    inner = instrument(starlette(), registry=registry)
    seen = Route("/users/{id}", hello)  # which `inner` has as well
    app = instrument(Starlette(routes=[seen, Mount("/api", opaque(inner))]), registry=registry)
    assert request(app, "/api/v1/users/1").status == 200
    check(registry, [("GET", "/api/{path}", 200, "", "complete")])


@pytest.mark.parametrize("path", ["/one/x/1", "/two/x/1"])
def test_a_place_in_sight_comes_before_an_opaque_mount(
    registry: CollectorRegistry, path: str
) -> None:
    seen = [Mount(where, routes=[Route("/x/{a}", hello)]) for where in ("/one", "/two")]
    app = Starlette(routes=[*seen, Mount("/{any}", closure(starlette()))])
    request(instrument(app, registry=registry), path)
    check(registry, [("GET", path.replace("1", "{a}"), 200, "", "complete")])


def test_a_router_below_an_opaque_mount_is_no_application(registry: CollectorRegistry) -> None:
    router = Router([Route("/users/{id}", hello)])
    app = Starlette(routes=[Mount("/api", closure(router))])
    request(instrument(app, registry=registry), "/api/users/1")
    [record] = records(registry)
    # Not every Starlette leaves the route in the scope.
    assert record[1] in ("/api/users/{id}", "/api/{path}")


@pytest.mark.parametrize(
    ("target", "template"),
    [("/users/1", "/users/{id}"), ("/m/1/users/2", "/m/{t}/users/{id}")],
)
@pytest.mark.parametrize("inner", [fastapi, starlette])
@pytest.mark.parametrize("above", ["", "/in"])
def test_what_is_below_an_opaque_host(
    registry: CollectorRegistry, inner: Any, above: str, target: str, template: str
) -> None:
    both = inner()
    hosts: list[Any] = [Host("testserver", closure(both)), Mount("/plain", both)]
    app = Starlette(routes=[Mount(above, routes=hosts)] if above else hosts)
    request(instrument(app, registry=registry), above + target)
    check(registry, [("GET", above + template, 200, "", "complete")])


def test_a_miss_below_an_opaque_host(registry: CollectorRegistry) -> None:
    app = Starlette(routes=[Host("testserver", closure(starlette()))])
    request(instrument(app, registry=registry), "/nope")
    check(registry, [("GET", "<unmatched>", 404, "", "complete")])


HOST_IN_HOST = [
    Host(
        "testserver",
        Router([Host("{tenant}.example", Router([Host("testserver", Router(users()))]))]),
    )
]
HOST_IN_ITSELF = Host("testserver", Router([Host("testserver", Router([deep()]))]))


@pytest.mark.parametrize(
    ("routes", "template"),
    [
        (HOST_IN_HOST, "<unmatched>"),
        ([Host("a.example", Router([Host("testserver", Router(users()))]))], "<unmatched>"),
        ([Mount("", routes=[Host("testserver", Router([deep()]))])], "/{path}"),
        ([Mount("", routes=[HOST_IN_ITSELF])], "/{path}"),
    ],
    ids=[
        "hosts below one that does not match",
        "below one that does not",
        "below a mount at /",
        "twice below a mount at /",
    ],
)
def test_a_miss_below_hosts(
    registry: CollectorRegistry, routes: list[BaseRoute], template: str
) -> None:
    request(instrument(Starlette(routes=routes), registry=registry), "/users/1")
    check(registry, [("GET", template, 404, "", "complete")])


def test_a_host_below_mounts_with_one_name_for_what_they_take(registry: CollectorRegistry) -> None:
    hosts = [Host("testserver", Router(users()))]
    app = Starlette(routes=[Mount("/{id}", routes=[Mount("/c/{id}", routes=hosts)])])
    before = failures.counts()
    assert request(instrument(app, registry=registry), "/1/c/2/users/3").status == 200
    assert failures.counts() == before
    check(registry, [("GET", "/{id}/c/{id}/users/{id}", 200, "", "complete")])


async def greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def test_a_websocket_below_an_opaque_mount(registry: CollectorRegistry) -> None:
    inner = Starlette(routes=[WebSocketRoute("/ws/{room}", greet)])
    app = Starlette(routes=[Mount("/api", closure(inner))])
    websocket(instrument(app, registry=registry), "/api/ws/1")
    labels = {"route": "/api/ws/{room}", "status": "101"}
    assert value(collected(registry), "websocket_connections_total", labels) == 1


@pytest.mark.parametrize("beside", [[], [Mount("/", ok)]], ids=["alone", "beside an opaque one"])
def test_an_endpoint_that_is_made_anew_below_a_mount(
    registry: CollectorRegistry, beside: list[Mount]
) -> None:
    routes = [Anew("/x/{a}", hello), Mount("/m", routes=[Anew("/x/{a}", hello)]), *beside]
    door = instrument(Starlette(routes=routes), registry=registry)
    for target in ("/x/1", "/m/x/1"):
        request(door, target)
    check(registry, [("GET", route, 200, "", "complete") for route in ("/m/x/{a}", "/x/{a}")])
