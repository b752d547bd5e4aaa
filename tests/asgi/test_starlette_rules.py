"""The rules on Starlette's routes and mounts, whoever answers for them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute

from asgi.driver import check, exchange, http_scope, http_server, ok, request
from asgi.starlette_app import REFUSING, Things, Unserved, hello, routes
from metrics import collected, records, value
from naming import without_address
from prom_middleware.asgi import PrometheusMiddleware

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


H = {"headers": {"host": "h.example:8000"}}
T = {"headers": {"host": "acme.tenants.example"}}
API = {"root_path": "/api"}

# (method, target, more of the scope, route, status), and the exceptions after the end.
ROUTED = {
    "A01": (GET, "/", {}, "/", 200),
    "A02": (GET, "/users/3", {}, "/users/{id}", 200),
    "A03": ("POST", "/users/3", {}, "/users/{id}", 200),
    "A04": ("HEAD", "/users/3", {}, "/users/{id}", 200),
    "A05": ("DELETE", "/users/3", {}, "/users/{id}", 405),
    "A06": ("OPTIONS", "/users/3", {}, "/users/{id}", 405),
    "A07": (GET, "/nope", {}, "<unmatched>", 404),
    "A08": (GET, "/numbers/three", {}, "<unmatched>", 404),
    "A09": (GET, "/users/3/", {}, "<unmatched>", 307),
    "A10": (GET, "/m1/a/1", {}, "/m1/a/{b}", 200),
    "A11": (GET, "/m1/m2/one/z/two", {}, "/m1/m2/{mp}/z/{q}", 200),
    "A12": (GET, "/sub/c/1", {}, "/sub/c/{cid}", 200),
    "A14": (GET, "/m1/nope", {}, "/m1/{path}", 404),
    "A15": (GET, "/raw/any/thing", {}, "/raw/{path}", 200),
    "A16": (GET, "/static/driver.py", {}, "/static/{path}", 200),
    "A18": (GET, "/dup1/k/1", {}, "/dup1/k/{x}", 200),
    "A21": (GET, "//users/3", {}, "<unmatched>", 404),
    "A22": (GET, "/users/a%2Fb", {}, "<unmatched>", 404),
    "A23": ("FOO", "/users/3", {}, "/users/{id}", 405),
    "A24": ("get", "/users/3", {}, "/users/{id}", 405),
    "A25": (GET, "/h/1", H, "/h/{x}", 200),
    "A26": (GET, "/api/users/3", API, "/users/{id}", 200),
    "A28": (GET, "/" + "x" * 65535, {}, "<unmatched>", 404),
    "A29": (GET, "/%ff%fe/x", {}, "<unmatched>", 404),
    "A33": (GET, "/418", {}, "/418", 418),
    "405 below a mount": ("POST", "/m1/a/1", {}, "/m1/a/{b}", 405),
    "405 below two mounts": ("POST", "/m1/m2/one/z/two", {}, "/m1/m2/{mp}/z/{q}", 405),
    "404 below two mounts": (GET, "/m1/m2/one/nope", {}, "/m1/m2/{mp}/{path}", 404),
    "404 in a sub-application": (GET, "/sub/nope", {}, "/sub/{path}", 404),
    "405 in a sub-application": ("PUT", "/sub/c/1", {}, "/sub/c/{cid}", 405),
    "root of a sub-application": (GET, "/sub/", {}, "/sub/", 200),
    "slash redirect below a mount": (GET, "/m1/a/1/", {}, "/m1/{path}", 307),
    "slash redirect to a mount": (GET, "/m1", {}, "<unmatched>", 307),
    "slash redirect that adds": (GET, "/closed", {}, "<unmatched>", 307),
    "404 of static files": (GET, "/static/nope", {}, "/static/{path}", 404),
    "405 of static files": ("POST", "/static/driver.py", {}, "/static/{path}", 405),
    "HEAD of static files": ("HEAD", "/static/driver.py", {}, "/static/{path}", 200),
    "the second mount of a router": (GET, "/dup2/k/1", {}, "/dup2/k/{x}", 200),
    "405 in the second mount": ("POST", "/dup2/k/1", {}, "/dup2/k/{x}", 405),
    "404 in the second mount": (GET, "/dup2/nope", {}, "/dup2/{path}", 404),
    "a mount with middleware": (GET, "/wrapped/a/1", {}, "/wrapped/a/{b}", 200),
    "404 in a mount with middleware": (GET, "/wrapped/nope", {}, "/wrapped/{path}", 404),
    "convertor": (GET, "/numbers/3", {}, "/numbers/{n}", 200),
    "path convertor": (GET, "/rest/a/b/c", {}, "/rest/{p}", 200),
    "class as endpoint": (GET, "/things/1", {}, "/things/{id}", 200),
    "405 of a class as endpoint": ("POST", "/things/1", {}, "/things/{id}", 405),
    "object as endpoint": ("DELETE", "/object/1", {}, "/object/{id}", 200),
    "one function, two routes": (GET, "/same/b/1", {}, "/same/b/{x}", 200),
    "one function, overlapping routes": ("POST", "/either/or", {}, "/{x}/or", 200),
    "405 of one function, two routes": ("PUT", "/either/or", {}, "/either/{x}", 405),
    "404 of a route": (GET, "/missing/1", {}, "/missing/{id}", 404),
    "a route that a mount takes over": (GET, "/m1/posted", {}, "/m1/{path}", 404),
    "refused in a sub-application": (GET, "/refusing/c/1", {}, "/refusing/c/{cid}", 401),
    "refused miss in a sub-application": (GET, "/refusing/nope", {}, "/refusing/{path}", 401),
    "QUERY": ("QUERY", "/object/1", {}, "/object/{id}", 200),
    "CONNECT": ("CONNECT", "/object/1", {}, "/object/{id}", 200),
    "404 of a host": (GET, "/h", H, "<unmatched>", 404),
    "route of another host": (GET, "/h/1", {}, "<unmatched>", 404),
    "mount in a host": (GET, "/t/a/1", T, "/t/a/{b}", 200),
    "404 of a mount in a host": (GET, "/t/nope", T, "/t/{path}", 404),
    "root path, mount": (GET, "/api/m1/a/1", API, "/m1/a/{b}", 200),
    "root path, miss below a mount": (GET, "/api/m1/nope", API, "/m1/{path}", 404),
    "root path, same router twice": (GET, "/api/dup2/k/1", API, "/dup2/k/{x}", 200),
    "root path, 404": (GET, "/api/nope", API, "<unmatched>", 404),
    "root path, 405": ("PUT", "/api/users/3", API, "/users/{id}", 405),
    "root path that the path is not below": (GET, "/users/3", API, "/users/{id}", 200),
    "root path that a mount's path is not below": (GET, "/m1/a/1", API, "/m1/{path}", 404),
    "refused where the path is not below it": (GET, "/refusing/c/1", API, "/refusing/{path}", 401),
    "mount in a host, the path not below it": (GET, "/t/a/1", {**T, **API}, "/t/{path}", 404),
    "root path like a mount": (GET, "/m1/m1/a/1", {"root_path": "/m1"}, "/m1/a/{b}", 200),
    "query string": (GET, "/users/3?a=/m1/a/1", {}, "/users/{id}", 200),
    "braces in the path": (GET, "/users/{id}", {}, "/users/{id}", 200),
    "newline in the path": (GET, "/users/a%0Ab", {}, "/users/{id}", 200),
    "path in surrogates": (GET, "/users/x", {"path": "/users/\udcff"}, "/users/{id}", 200),
}


@pytest.mark.parametrize("case", ROUTED.values(), ids=ROUTED.keys())
def test_routes(registry: CollectorRegistry, case: Any) -> None:
    method, target, scope, route, status = case
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    answer = request(app, target, method, **scope)
    assert answer.status == status
    sent = 0 if method == "HEAD" else len(answer.body)
    assert value(collected(registry), "http_response_body_bytes_total") == sent
    known = method if method not in ("FOO", "get") else "_OTHER"
    check(registry, [(known, route, status, "", "complete")])


@pytest.mark.parametrize(
    ("mount", "target", "expected"),
    [
        (Mount("/", routes=[Route("/x/{a}", hello)]), "/x/1", ("/x/{a}", 200)),
        (Mount("/", routes=[Route("/x/{a}", hello)]), "/nope", ("/{path}", 404)),
        (Mount("", app=Router([Route("/", hello)])), "/", ("/", 200)),
        (Mount("/", app=ok), "/any/thing", ("/{path}", 200)),
        (Mount("/m", routes=[Route("/", hello)]), "/m/", ("/m/", 200)),
        (Mount("/m", routes=[Mount("/n", app=ok)]), "/m/n/x", ("/m/n/{path}", 200)),
        (Mount("/m", routes=[Mount("/n", app=ok)]), "/m/x", ("/m/{path}", 404)),
        (Mount("/m/", app=ok), "/m/x", ("/m/{path}", 200)),
    ],
    ids=without_address,
)
def test_mounts(registry: CollectorRegistry, mount: Any, target: str, expected: Any) -> None:
    app = Starlette(routes=[mount])
    request(PrometheusMiddleware(app, registry=registry), target)
    check(registry, [(GET, *expected, "", "complete")])


class Keeping:
    """Middleware that does not call `app` what it wraps."""

    def __init__(self, app: Any) -> None:
        self._inner = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._inner(scope, receive, send)


def enclosing(app: Any) -> Any:
    async def enclosed(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return enclosed


@pytest.mark.parametrize("middleware", [Keeping, enclosing], ids=without_address)
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/x/1", ("/api/x/{a}", 200)),
        ("/api/v1/y/1", ("/api/v1/y/{b}", 200)),
        ("/api/v1/nope", ("/api/v1/{path}", 404)),
        ("/api/nope", ("/api/{path}", 404)),
    ],
)
def test_middleware_of_a_mount_that_shows_nothing(
    registry: CollectorRegistry, middleware: Any, target: str, expected: Any
) -> None:
    routes = [Route("/x/{a}", hello), Mount("/v1", routes=[Route("/y/{b}", hello)])]
    mount = Mount("/api", routes=routes, middleware=[Middleware(middleware)])
    request(PrometheusMiddleware(Starlette(routes=[mount]), registry=registry), target)
    check(registry, [(GET, *expected, "", "complete")])


def refusing(app: Any) -> Any:
    async def refused(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("no", 403)(scope, receive, send)

    return refused


def test_a_mount_that_refuses_what_is_below_an_opaque_one(registry: CollectorRegistry) -> None:
    """The application's own routes take the rest of the path, but nobody has come to them by it."""
    inner = Mount("/graph", app=enclosing(PlainTextResponse("hello")))
    mount = Mount("/api", routes=[inner], middleware=[Middleware(refusing)])
    app = Starlette(routes=[mount, Route("/{page:path}", hello)])
    request(PrometheusMiddleware(app, registry=registry), "/api/graph/x")
    check(registry, [(GET, "/api/graph/{path}", 403, "", "complete")])


def test_a_wrapper_that_copies_the_scope(registry: CollectorRegistry) -> None:
    class Copying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(dict(scope), receive, send)

    app = PrometheusMiddleware(Copying(Starlette(routes=routes())), registry=registry)
    request(app, "/users/3")
    check(registry, [(GET, "/users/{id}", 200, "", "complete")])


def test_answers_are_the_same_without_us() -> None:
    for method in ("GET", "HEAD", "OPTIONS", "DELETE", "FOO"):
        for target in ("/users/3", "/nope", "/users/3/", "/static/driver.py", "/m1"):
            bare = Starlette(routes=routes())
            app = PrometheusMiddleware(bare, registry=CollectorRegistry())
            assert request(app, target, method).sent == request(bare, target, method).sent


PREFLIGHT = {"origin": "http://a", "access-control-request-method": "GET"}
CORS = Middleware(CORSMiddleware, allow_origins=["*"])
TRUSTED = Middleware(TrustedHostMiddleware, allowed_hosts=["other"])
HTTPS = Middleware(HTTPSRedirectMiddleware)

# Answered before it was routed: middleware, (method, target, headers), route, status.
UNROUTED = {
    "preflight": (CORS, ("OPTIONS", "/users/3", PREFLIGHT), "/users/{id}", 200),
    "preflight below a mount": (CORS, ("OPTIONS", "/m1/a/1", PREFLIGHT), "/m1/a/{b}", 200),
    "preflight of nothing": (CORS, ("OPTIONS", "/nope", PREFLIGHT), "<unmatched>", 200),
    "foreign host": (TRUSTED, (GET, "/users/3", {}), "/users/{id}", 400),
    "foreign host, sub-application": (TRUSTED, (GET, "/sub/c/1", {}), "/sub/c/{cid}", 400),
    "redirect to https": (HTTPS, (GET, "/users/3", {}), "/users/{id}", 307),
    "refused": (REFUSING, (GET, "/dup2/k/1", {}), "/dup2/k/{x}", 401),
    "refused second method": (REFUSING, ("POST", "/users/3", {}), "/users/{id}", 401),
    "refused unknown method": (REFUSING, ("DELETE", "/users/3", {}), "/users/{id}", 401),
    "refused miss below a mount": (REFUSING, (GET, "/m1/nope", {}), "/m1/{path}", 401),
    "refused miss below two": (REFUSING, (GET, "/m1/m2/a/nope", {}), "/m1/m2/{mp}/{path}", 401),
    "refused static file": (REFUSING, (GET, "/static/a", {}), "/static/{path}", 401),
    "refused opaque mount": (REFUSING, (GET, "/raw/a", {}), "/raw/{path}", 401),
    "refused miss": (REFUSING, (GET, "/nope", {}), "<unmatched>", 401),
    "refused slash": (REFUSING, (GET, "/users/3/", {}), "<unmatched>", 401),
    "refused host": (REFUSING, (GET, "/h/1", H["headers"]), "/h/{x}", 401),
    "refused mismatch": (REFUSING, (GET, "/numbers/x", {}), "<unmatched>", 401),
}


@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
@pytest.mark.parametrize("case", UNROUTED.values(), ids=UNROUTED.keys())
def test_answered_before_routing(registry: CollectorRegistry, case: Any, root: str) -> None:
    middleware, (method, target, headers), route, status = case
    app = Starlette(routes=routes(), middleware=[middleware])
    app = PrometheusMiddleware(app, registry=registry)
    assert request(app, root + target, method, headers=headers, root_path=root).status == status
    check(registry, [(method, route, status, "", "complete")])


def test_a_page_that_is_refused_has_not_the_name_of_a_websocket(
    registry: CollectorRegistry,
) -> None:
    app = Starlette(routes=[WebSocketRoute("/talk", hello)], middleware=[REFUSING])
    assert request(PrometheusMiddleware(app, registry=registry), "/talk").status == 401
    check(registry, [(GET, "<unmatched>", 401, "", "complete")])


class EitherCase(Route):
    """A route whose path may be in upper or lower case."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/USERS/3", "/users/{id}"),
        ("/m/Users/3", "/m/users/{id}"),
        ("/M/users/3", "<unmatched>"),
        ("/OTHER", "<unmatched>"),
    ],
)
def test_a_path_in_either_case(registry: CollectorRegistry, target: str, route: str) -> None:
    below = [EitherCase("/users/{id}", hello)]
    app = Starlette(
        routes=[*below, Route("/other", hello), Mount("/m", routes=below)], middleware=[REFUSING]
    )
    request(PrometheusMiddleware(app, registry=registry), target)
    check(registry, [(GET, route, 401, "", "complete")])


@pytest.mark.parametrize("endpoint", [Unserved(), Things], ids=["new", "known"])
def test_routes_that_are_added_later(registry: CollectorRegistry, endpoint: Any) -> None:
    application = Starlette(routes=routes())
    app = PrometheusMiddleware(application, registry=registry)
    request(app, "/things/1")
    request(app, "/late/1")
    application.router.routes.append(Route("/late/{id}", endpoint))
    request(app, "/late/1")
    found = {record[1]: record[2] for record in records(registry)}
    assert found == {"/things/{id}": 200, "<unmatched>": 404, "/late/{id}": 200}


def test_routes_that_are_added_below_mounts(registry: CollectorRegistry) -> None:
    inner = Router([Route("/x/{a}", hello)])
    mounts = [Mount("/m", routes=[Mount("/n", inner)])]
    app = PrometheusMiddleware(Starlette(routes=mounts), registry=registry)
    request(app, "/m/n/x/1")
    inner.routes.append(Route("/late/{id}", Unserved()))
    request(app, "/m/n/late/1")
    check(registry, [(GET, f"/m/n/{end}", 200, "", "complete") for end in ("late/{id}", "x/{a}")])


class Unhashable:
    """Endpoints that say of themselves that they are all the same."""

    __hash__: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("hello")(scope, receive, send)


class Alike(Unhashable):
    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize("kind", [Unhashable, Alike])
def test_endpoints_that_equal_each_other(registry: CollectorRegistry, kind: Any) -> None:
    two = [Route("/a/{id}", kind()), Route("/b/{id}", kind())]
    app = PrometheusMiddleware(Starlette(routes=two), registry=registry)
    for target in ("/a/1", "/b/1", "/a/2", "/b/2"):
        assert request(app, target).status == 200
    for route in ("/a/{id}", "/b/{id}"):
        assert value(collected(registry), "http_requests_total", {"route": route}) == 2


class Proxy:
    """As a decorator of wrapt's makes it: it says that it is what it wraps."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __hash__(self) -> int:
        return hash(self.wrapped)

    def __eq__(self, other: object) -> bool:
        return bool(self.wrapped == other)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("hello")(scope, receive, send)


def test_an_endpoint_and_its_proxy(registry: CollectorRegistry) -> None:
    both = [Route("/new", hello), Route("/old", Proxy(hello))]
    app = PrometheusMiddleware(Starlette(routes=both), registry=registry)
    for target in ("/new", "/old", "/old"):
        assert request(app, target).status == 200
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/new"}) == 1
    assert value(samples, "http_requests_total", {"route": "/old"}) == 2


def test_two_routes_at_once_do_not_mix(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)

    async def main() -> None:
        targets = ["/users/1", "/m1/a/1", "/dup1/k/1", "/dup2/k/1", "/nope"] * 20
        calls = [exchange(app, http_scope(target), http_server()) for target in targets]
        await asyncio.gather(*calls)

    asyncio.run(main())
    samples = collected(registry)
    for route in ("/users/{id}", "/m1/a/{b}", "/dup1/k/{x}", "/dup2/k/{x}", "<unmatched>"):
        assert value(samples, "http_requests_total", {"route": route}) == 20
