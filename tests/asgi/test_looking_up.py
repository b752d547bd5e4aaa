"""What a route costs to look up, and what becomes of routes that change."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from asgi.driver import check, ok, request
from asgi.opaque import (
    Anew,
    Bare,
    Group,
    between,
    closure,
    deep,
    starlette,
    users,
)
from asgi.starlette_app import REFUSING, hello
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware, routing
from prom_middleware.asgi.routing import Routes
from prom_middleware.asgi.tree import Entry, fingerprint

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# What is looked up as ever, since nothing is behind it.
CLEAR = {
    "routes": Mount("/m", routes=[Route("/x", hello)]),
    "application": Mount("/m", Starlette(routes=[Route("/x", hello)])),
    "door": Mount("/m", PrometheusMiddleware(Starlette(routes=[Route("/x", hello)]))),
    "static": Mount("/m", StaticFiles(directory=".")),
}


@pytest.mark.parametrize("mount", CLEAR.values(), ids=CLEAR)
def test_only_an_opaque_mount_costs_a_look(mount: Mount) -> None:
    routes = [Route("/users/{id}", hello), mount]
    assert Routes(routes).size == 2
    assert Routes([*routes, Mount("/o", ok)]).size < 0


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/r99/1", "/r99/{a}"),
        ("/api/r99/1", "/api/r99/{a}"),
        ("/other/users/1", "/other/users/{id}"),
        ("/nowhere", "/{path}"),
    ],
)
def test_an_opaque_mount_costs_no_look_at_all_routes(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, target: str, route: str
) -> None:
    many, more = ([Route(f"/r{at}/{{a}}", partial(hello)) for at in range(100)] for _ in range(2))
    mounts = [Mount("/api", routes=more), Mount("/other", closure(starlette())), Mount("/", ok)]
    door = instrument(Starlette(routes=[*many, *mounts]), registry=registry)
    request(door, target)
    tried: list[str] = []
    matches = Entry.matches

    def noted(entry: Entry, *of: Any) -> bool:
        tried.append(entry.template)
        return matches(entry, *of)

    monkeypatch.setattr(Entry, "matches", noted)
    monkeypatch.setattr(routing, "fingerprint", lambda _: pytest.fail("looks at all routes"))
    request(door, target)
    assert len(tried) <= 6
    check(registry, [("GET", route, 200, "", "complete")] * 2)


# What leads to endpoints that are in no table.
STRANGERS = {
    "a router below a mount": ("/o/users/1", Mount("/o", closure(Router([deep(), *users()])))),
    "a mount between": ("/o/v1/users/1", Mount("/o", between(starlette()))),
    "a group": ("/users/1", Group(*users())),
    "made anew": ("/users/1", Anew("/users/{id}", hello)),
    "made anew, no route": ("/users/1", Bare("/users/{id}", hello)),
    "made anew below a mount": ("/m/users/1", Mount("/m", routes=[Anew("/users/{id}", hello)])),
}


@pytest.mark.parametrize(("target", "route"), STRANGERS.values(), ids=STRANGERS)
def test_an_endpoint_that_is_in_no_table_costs_no_look_at_all_routes(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, target: str, route: Any
) -> None:
    monkeypatch.setattr(routing, "_MOST_STRANGERS", 2)
    looks: list[Any] = []

    def noted(routes: Any) -> list[int]:
        looks.append(routes)
        return fingerprint(routes)

    monkeypatch.setattr(routing, "fingerprint", noted)
    door = instrument(Starlette(routes=[Route("/y", partial(hello)), route]), registry=registry)
    request(door, "/y")
    looks.clear()
    for _ in range(6):
        assert request(door, target).status == 200
    assert len(looks) <= 2


@pytest.mark.parametrize("most", [0, 64], ids=["after many strangers", "after one"])
def test_routes_that_are_added_after_strangers(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(routing, "_MOST_STRANGERS", most)
    inner = Router([])
    routes = [Anew("/x/{a}", hello), Mount("/m", routes=[Mount("/n", inner)])]
    door = instrument(Starlette(routes=routes), registry=registry)
    for target in ("/x/1", "/x/2"):
        request(door, target)
    for late in (Anew("/late/{id}", hello), Route("/later/{id}", partial(hello))):
        inner.routes.append(late)
        request(door, f"/m/n{late.path}")
    found = ("/m/n/late/{id}", "/m/n/later/{id}", "/x/{a}", "/x/{a}")
    check(registry, [("GET", route, 200, "", "complete") for route in found])


def test_a_route_in_the_place_of_another(registry: CollectorRegistry) -> None:
    inner = Router([Route("/x/{a}", hello)])
    routes = [Anew("/y/{b}", hello), Mount("/m", inner)]
    door = instrument(Starlette(routes=routes), registry=registry)
    request(door, "/y/1")
    inner.routes[0] = Route("/z/{c}", partial(hello))
    request(door, "/m/z/1")
    check(registry, [("GET", route, 200, "", "complete") for route in ("/m/z/{c}", "/y/{b}")])


def inside_host(path: str, routes: list[Any]) -> Mount:
    return Mount(path, routes=[Host("testserver", Router(routes))])


def test_a_request_that_was_refused_has_the_first_route_that_differs_in_method(
    registry: CollectorRegistry,
) -> None:
    routes = [Route(f"/x/{{{name}}}", hello, methods=[name]) for name in ("PUT", "POST", "PATCH")]
    app = Starlette(routes=routes, middleware=[REFUSING])
    door = PrometheusMiddleware(app, registry=registry)
    for method in (GET, "POST"):
        request(door, "/x/1", method)
    done = (401, "", "complete")
    check(registry, [(GET, "/x/{PUT}", *done), ("POST", "/x/{POST}", *done)])


def test_an_endpoint_that_stands_twice_has_the_route_that_takes_the_method(
    registry: CollectorRegistry,
) -> None:
    routes = [Route(f"/x/{{{name}}}", hello, methods=[name]) for name in ("PUT", "POST", "PATCH")]
    door = PrometheusMiddleware(Starlette(routes=routes), registry=registry)
    for method in ("DELETE", "PATCH", "POST"):
        request(door, "/x/1", method)
    found = [("DELETE", "/x/{PUT}", 405), ("PATCH", "/x/{PATCH}", 200), ("POST", "/x/{POST}", 200)]
    check(registry, [(*one, "", "complete") for one in found])


@pytest.mark.parametrize("below", [Mount, inside_host], ids=["mount", "host in a mount"])
def test_what_differs_in_method_outside_a_mount_is_not_what_does_inside(
    registry: CollectorRegistry, below: Any
) -> None:
    routes = [
        Route("/{kind}/upload", hello, methods=["PUT"]),
        below("/api", routes=[Route("/{name}", hello, methods=["POST"])]),
    ]
    door = PrometheusMiddleware(Starlette(routes=routes, middleware=[REFUSING]), registry=registry)
    for target in ("/api/upload", "/api/other", "/x/upload"):
        request(door, target)
    found = [(GET, route, 401, "", "complete") for route in ("/api/{name}",) * 2]
    check(registry, [*found, (GET, "/{kind}/upload", 401, "", "complete")])


def test_routes_that_come_and_go_below_a_mount(registry: CollectorRegistry) -> None:
    """Where the endpoint tells nothing: a request that was refused, and one that misses."""
    below = Router([Route("/one", hello)])
    app = Starlette(routes=[Mount("/sub", below)])
    door = PrometheusMiddleware(refusing_some(app), registry=registry)
    request(door, "/sub/one")
    below.routes.append(Route("/two/{x}", hello))
    request(door, "/sub/two/1", headers={"x-refuse": "1"})
    below.routes.clear()
    request(door, "/sub/one")
    expected = [("/sub/one", 200), ("/sub/two/{x}", 401), ("/sub/{path}", 404)]
    check(registry, [(GET, *one, "", "complete") for one in expected])


def refusing_some(app: Starlette) -> Starlette:
    async def refuse(request: Any, call_next: Any) -> Any:
        if "x-refuse" in request.headers:
            return PlainTextResponse("no", 401)
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=refuse)
    return app


REFUSED = {
    "a path that only begins as the mount of a host": (
        [inside_host("/m", users()), Route("/mx/{id}", hello)],
        ("/mx/1", "/mx/{id}"),
    ),
    "a mount in another host": (
        [Host("other.example", Router([Mount("/m", routes=users())])), Route("/m/{x}", hello)],
        ("/m/1", "/m/{x}"),
    ),
    "a route below a mount in another host": (
        [
            Host("other.example", Router([Mount("/m", routes=users())])),
            Route("/m/users/{x}", hello),
        ],
        ("/m/users/1", "/m/users/{x}"),
    ),
}


@pytest.mark.parametrize(("routes", "asked"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_was_refused_has_no_name_of_another_host_s(
    registry: CollectorRegistry, routes: list[Any], asked: tuple[str, str]
) -> None:
    door = PrometheusMiddleware(Starlette(routes=routes, middleware=[REFUSING]), registry=registry)
    target, route = asked
    request(door, target)
    check(registry, [(GET, route, 401, "", "complete")])


def test_a_place_in_sight_does_not_come_before_an_opaque_mount_ahead_of_it(
    registry: CollectorRegistry,
) -> None:
    routes = [Mount("/api", closure(starlette())), Route("/{any}/users/{id}", hello)]
    request(instrument(Starlette(routes=routes), registry=registry), "/api/users/1")
    check(registry, [(GET, "/api/users/{id}", 200, "", "complete")])


class Versioned(APIRoute):
    """A route for the requests that ask for its version."""

    def matches(self, scope: Any) -> Any:
        is_mine = (b"version", str(self.name).encode()) in scope["headers"]
        return super().matches(scope) if is_mine else (Match.NONE, {})


def test_one_function_whose_routes_differ_in_more_than_the_path(
    registry: CollectorRegistry,
) -> None:
    async def read() -> None:
        """Have nothing to tell."""

    app = FastAPI()
    app.router.route_class = Versioned
    for version, path in (("1", "/{book}"), ("2", "/{title}")):
        app.get(path, name=version)(read)
    door = PrometheusMiddleware(app, registry=registry)
    for version in ("1", "2"):
        assert request(door, "/x", headers={"version": version}).status == 200
    check(registry, [(GET, path, 200, "", "complete") for path in ("/{book}", "/{title}")])


def test_a_path_that_only_begins_like_the_root_path(registry: CollectorRegistry) -> None:
    app = Starlette(routes=[Route("/apiary/{id}", hello)], middleware=[REFUSING])
    request(PrometheusMiddleware(app, registry=registry), "/apiary/1", root_path="/api")
    check(registry, [(GET, "/apiary/{id}", 401, "", "complete")])


def test_routes_that_are_added_to_a_mount_below_an_opaque_one(registry: CollectorRegistry) -> None:
    late = Router([])
    inner = Starlette(routes=[Mount("/m", late)])
    door = instrument(Starlette(routes=[Mount("/api", closure(inner))]), registry=registry)
    for _ in range(2):
        request(door, "/api/m/late/1")
        late.routes = [Route("/late/{id}", partial(hello))]
    found = [("/api/m/late/{id}", 200), ("/api/m/{path}", 404)]
    check(registry, [(GET, *one, "", "complete") for one in found])


def test_an_application_that_is_mounted_in_itself(registry: CollectorRegistry) -> None:
    app = Starlette(routes=[Route("/users/{id}", hello)])
    app.mount("/self", app)
    door = PrometheusMiddleware(app, registry=registry)
    for target in ("/users/1", "/self/users/1"):
        request(door, target)
    routes = ("/self/users/{id}", "/users/{id}")
    check(registry, [(GET, route, 200, "", "complete") for route in routes])


def test_no_more_tables_than_a_process_needs(registry: CollectorRegistry) -> None:
    """An application may make routers as it runs."""
    router, kept = routing.Router(ok), []
    for _ in range(2 * routing._MOST_TABLES):
        made = Router([Route("/x", hello)])
        assert router.template({"router": made, "endpoint": hello, "path": "/x"}) == "/x"
        kept.append(weakref.ref(made.routes[0]))
    gc.collect()
    assert sum(one() is not None for one in kept) <= routing._MOST_TABLES
