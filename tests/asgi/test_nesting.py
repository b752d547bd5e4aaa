"""Once per registry: doors in doors, WSGI in ASGI, and applications that call one another."""

from __future__ import annotations

import asyncio
import gc
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from pickle import dumps, loads
from time import time
from typing import Any
from weakref import ref

import pytest
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from flask import Flask
from flask import request as flask_request
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from asgi.driver import check, exchange, http_scope, http_server, ok, request, row
from metrics import collected, in_progress, records, value
from prom_middleware import failures, instrument
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.flask import Prometheus
from prom_middleware.instrumentation.nesting import MOST_PREFIXES
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor
from waiting import becomes
from wsgi_door.driver import call, environ

a2wsgi = pytest.importorskip("a2wsgi")
GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def boom(request: Request) -> Response:
    raise ValueError("boom")


def user(id: int) -> str:  # noqa: A002
    return str(id)


def inner_routes() -> list[Any]:
    return [Route("/q/{z}", hello), Route("/users/{id}", hello), Route("/boom", boom)]


def starlette_bare(registry: CollectorRegistry) -> Any:
    return Starlette(routes=inner_routes())


def starlette_added(registry: CollectorRegistry) -> Any:
    app = Starlette(routes=inner_routes())
    app.add_middleware(PrometheusMiddleware, registry=registry)
    return app


def starlette_wrapped(registry: CollectorRegistry) -> Any:
    return PrometheusMiddleware(Starlette(routes=inner_routes()), registry=registry)


def fastapi_added(registry: CollectorRegistry) -> Any:
    app = FastAPI()
    app.get("/q/{z}")(lambda z: z)
    app.get("/users/{id}")(user)
    app.add_middleware(PrometheusMiddleware, registry=registry)
    return app


INNER = [starlette_added, starlette_wrapped, fastapi_added]


@row("A50", (GET, "/users/{id}", 200, "", "complete"))
@pytest.mark.parametrize("inner", INNER)
def test_the_same_middleware_twice(
    registry: CollectorRegistry, expected: Any, inner: Callable[..., Any]
) -> None:
    request(PrometheusMiddleware(inner(registry), registry=registry), "/users/3")
    check(registry, expected)


@row("A51", (GET, "/in/q/{z}", 200, "", "complete"))
@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
@pytest.mark.parametrize("inner", INNER)
def test_instrumented_in_instrumented(
    registry: CollectorRegistry, expected: Any, inner: Callable[..., Any], root: str
) -> None:
    app = Starlette(routes=[Mount("/in", inner(registry))])
    app = PrometheusMiddleware(app, registry=registry)
    request(app, f"{root}/in/q/1", root_path=root)
    check(registry, expected)


@pytest.mark.parametrize(
    ("target", "method", "route", "status"),
    [
        ("/in/nope", GET, "/in/{path}", 404),
        ("/in/q/1/", GET, "/in/{path}", 307),
        ("/in/q/1", "POST", "/in/q/{z}", 405),
        ("/nope", GET, "<unmatched>", 404),
    ],
)
@pytest.mark.parametrize("inner", INNER)
def test_misses_below_an_instrumented_mount(
    registry: CollectorRegistry, inner: Any, target: str, method: str, route: str, status: int
) -> None:
    app = Starlette(routes=[Mount("/in", inner(registry))])
    request(PrometheusMiddleware(app, registry=registry), target, method)
    check(registry, [(method, route, status, "", "complete")])


def test_only_the_outer_ending_counts(registry: CollectorRegistry) -> None:
    """The inner door saw an exception, the outer one an answer."""
    app = PrometheusMiddleware(starlette_added(registry), registry=registry)
    assert request(app, "/boom").raised == "ValueError"
    check(registry, [(GET, "/boom", 500, "", "complete")], "ValueError")


def test_an_instrumented_mount_in_a_bare_application(registry: CollectorRegistry) -> None:
    app = Starlette(routes=[Mount("/in/{tenant}", starlette_added(registry))])
    request(app, "/in/acme/q/1")
    check(registry, [(GET, "/in/{tenant}/q/{z}", 200, "", "complete")])


@row("C6", (GET, "/in/q/{z}", 200, "", "complete"))
@pytest.mark.parametrize("inner", INNER)
def test_two_registries_count_once_each(
    registry: CollectorRegistry, expected: Any, inner: Callable[..., Any]
) -> None:
    other = CollectorRegistry()
    app = Starlette(routes=[Mount("/in", inner(other))])
    request(PrometheusMiddleware(app, registry=registry), "/in/q/1")
    check(registry, expected)
    check(other, expected)


def dispatcher(app: Any) -> Any:
    """Return a dispatcher by rules of its own, which gives `app` a copy of the scope."""

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": f"{scope['root_path']}/by"}, receive, send)

    return dispatch


@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
def test_a_dispatcher_that_copies_the_scope(registry: CollectorRegistry, root: str) -> None:
    app = PrometheusMiddleware(dispatcher(starlette_wrapped(registry)), registry=registry)
    request(app, f"{root}/by/users/3", root_path=root)
    check(registry, [(GET, "/by/users/{id}", 200, "", "complete")])


def test_what_a_door_further_in_refuses_has_its_route(registry: CollectorRegistry) -> None:
    """The application itself was not reached, which leaves itself in the scope."""
    app = TrustedHostMiddleware(Starlette(routes=inner_routes()), allowed_hosts=["other.example"])
    inner = PrometheusMiddleware(app, registry=registry)

    async def passing(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    request(PrometheusMiddleware(passing, registry=registry), "/users/3")
    check(registry, [(GET, "/users/{id}", 400, "", "complete")])


def test_what_a_door_further_in_was_asked_before_is_not_asked_again(
    registry: CollectorRegistry,
) -> None:
    """An application that tries two places for what it has not: neither door knows the last."""
    inner = starlette_wrapped(registry)

    async def trying(scope: Any, receive: Any, send: Any) -> None:
        async def drop(message: Any) -> None:
            pass

        await inner({**scope, "path": "/new/users/3"}, receive, drop)
        await inner({**scope, "path": "/old/users/3"}, receive, send)

    request(PrometheusMiddleware(trying, registry=registry), "/users/3")
    check(registry, [(GET, "<unmatched>", 404, "", "complete")])


def test_what_is_asked_after_the_last_byte_is_a_request_of_its_own(
    registry: CollectorRegistry,
) -> None:
    inner, asked = starlette_wrapped(registry), http_server()

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)
        await inner(scope, asked.receive, asked.send)

    request(PrometheusMiddleware(answered, registry=registry), "/users/3")
    assert asked.sent
    found = [(GET, route, 200, "", "complete") for route in ("/users/{id}", "<unmatched>")]
    check(registry, sorted(found))


def deep(app: Any) -> Any:
    """Return `app` as Hypercorn's ProxyFixMiddleware serves it: with a deep copy of the scope."""

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await app(deepcopy(scope), receive, send)

    copying.app = app  # type: ignore[attr-defined]
    return copying


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what another process is told."""
    await ok(loads(dumps(scope)), receive, send)


def test_a_scope_can_be_pickled(registry: CollectorRegistry) -> None:
    before = failures.counts()
    assert request(PrometheusMiddleware(elsewhere, registry=registry), "/q/1").error is None
    check(registry, [(GET, "<unmatched>", 200, "", "complete")])
    assert failures.counts() == before


def test_a_pickled_scope_is_of_a_request_of_its_own(registry: CollectorRegistry) -> None:
    inner = PrometheusMiddleware(elsewhere, registry=registry)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(loads(dumps(scope)), receive, send)

    before = failures.counts()
    assert request(PrometheusMiddleware(outer, registry=registry), "/q/1").error is None
    check(registry, [(GET, "<unmatched>", 200, "", "complete")] * 2)
    assert failures.counts() == before


@pytest.mark.parametrize("inner", [starlette_bare, *INNER])
def test_a_deep_copy_of_the_scope_is_of_the_same_request(
    registry: CollectorRegistry, inner: Any
) -> None:
    door = PrometheusMiddleware(deep(inner(registry)), registry=registry)
    assert request(door, "/q/1").error is None
    check(registry, [(GET, "/q/{z}", 200, "", "complete")])


def test_tenants_that_clients_invent_are_not_all_in_the_route(registry: CollectorRegistry) -> None:
    inner = starlette_wrapped(registry)

    async def tenants(scope: Any, receive: Any, send: Any) -> None:
        first = "/" + scope["path"].split("/")[1]
        await inner({**scope, "root_path": first}, receive, send)

    app = PrometheusMiddleware(tenants, registry=registry)
    for number in range(MOST_PREFIXES + 9):
        request(app, f"/tenant-{number}/users/3")
    routes = [route for _, route, *_ in records(registry)]
    assert len(set(routes)) == MOST_PREFIXES + 1
    assert routes.count("/tenant-0/users/{id}") == 1
    assert routes.count("/{path}/users/{id}") == 9


BATCH: dict[str, tuple[str, list[tuple[str, str, int, str, str]]]] = {
    "a hit": ("/users/3", [("GET", "/users/{id}", 200, "", "complete")]),
    "a scrape": ("/metrics", []),
}


@pytest.mark.parametrize("door", ["added", "around"])
@pytest.mark.parametrize(("path", "inner"), BATCH.values(), ids=BATCH)
def test_a_request_that_is_made_of_a_copy_of_the_scope_is_one_of_its_own(
    registry: CollectorRegistry, door: str, path: str, inner: list[tuple[str, str, int, str, str]]
) -> None:
    async def batch(request: Request) -> Response:
        async def send(message: Any) -> None:
            pass

        scope = {**request.scope, "method": "GET", "path": path, "raw_path": path.encode()}
        await request.app(scope, request.receive, send)
        return PlainTextResponse("all")

    app: Any = Starlette(
        routes=[Route("/batch", batch, methods=["POST"]), Route("/users/{id}", hello)]
    )
    if door == "added":
        app.add_middleware(PrometheusMiddleware, registry=registry)
    else:
        app = instrument(app, registry=registry)
    assert request(app, "/batch", "POST").status == 200
    batched = ("POST", "/batch", 200, "", "complete")
    assert sorted(records(registry)) == sorted([batched, *inner])
    assert in_progress(registry) == 0


@pytest.mark.parametrize("changed", [{"method": "PUT"}, {"path": "/users/3"}])
def test_a_rewritten_request_is_the_same(
    registry: CollectorRegistry, changed: dict[str, str]
) -> None:
    app = starlette_added(registry)

    async def rewrite(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, **changed}, receive, send)

    request(PrometheusMiddleware(rewrite, registry=registry), "/users/4", "POST")
    assert len(records(registry)) == 1


def test_an_application_that_calls_another(registry: CollectorRegistry) -> None:
    """Another request is another record, also within the first one's task."""
    backend = PrometheusMiddleware(Starlette(routes=inner_routes()), registry=registry)

    async def gateway(request: Request) -> Response:
        await exchange(backend, http_scope("/users/3"), http_server())
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/gateway", gateway)])
    request(PrometheusMiddleware(app, registry=registry), "/gateway")
    expected = [(GET, "/gateway", 200, "", "complete"), (GET, "/users/{id}", 200, "", "complete")]
    check(registry, expected)


def call_wsgi(app: Any, path: str) -> list[bytes]:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": ""}
    body = app(environ, lambda status, headers, exc_info=None: lambda data: None)
    try:
        return list(body)
    finally:
        getattr(body, "close", lambda: None)()


@pytest.mark.parametrize(
    ("target", "called"), [("/gateway", "/other"), ("/by/users", "/users"), ("/by/", "/")]
)
def test_an_application_that_calls_a_wsgi_one(
    registry: CollectorRegistry, target: str, called: str
) -> None:
    backend = WSGIDoor(wsgi_app, registry=registry)

    async def gateway(request: Request) -> Response:
        await asyncio.to_thread(call_wsgi, backend, called)
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route(target, gateway)])
    request(PrometheusMiddleware(app, registry=registry), target)
    expected = [(GET, target, 200, "", "complete"), (GET, "<unmatched>", 200, "", "complete")]
    check(registry, expected)


def test_wsgi_that_is_asked_after_the_last_byte_is_a_request_of_its_own(
    registry: CollectorRegistry,
) -> None:
    backend = WSGIDoor(wsgi_app, registry=registry)

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)
        call_wsgi(backend, "/x")

    request(PrometheusMiddleware(answered, registry=registry), "/x")
    check(registry, [(GET, "<unmatched>", 200, "", "complete")] * 2)


# WSGI inside ASGI.


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    status = "404 Not Found" if environ["PATH_INFO"].endswith("nope") else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [b"hello"]


def flask_app() -> Flask:
    app = Flask(__name__)
    app.get("/u/<int:id>")(user)

    @app.get("/boom")
    def broken() -> str:
        raise ValueError("boom")

    return app


def starlettes(app: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        middleware = pytest.importorskip("starlette.middleware.wsgi", exc_type=ImportError)
    return middleware.WSGIMiddleware(app)


ADAPTERS = [
    pytest.param(lambda app: a2wsgi.WSGIMiddleware(app, workers=1), id="a2wsgi"),
    pytest.param(WsgiToAsgi, id="asgiref"),
    pytest.param(starlettes, id="starlette"),
]


def plain(registry: CollectorRegistry) -> Any:
    return WSGIDoor(wsgi_app, registry=registry)


def flask(registry: CollectorRegistry) -> Any:
    app = flask_app()
    Prometheus(app, registry=registry)
    return app


def flask_wrapped(registry: CollectorRegistry) -> Any:
    return WSGIDoor(flask(registry), registry=registry)


# The WSGI side, the path below the mount, route below the mount, route where nothing is mounted.
WSGI = {
    "plain": (plain, "/x", "/{path}", "<unmatched>", 200),
    "plain, root": (plain, "/", "/{path}", "<unmatched>", 200),
    "plain, 404": (plain, "/nope", "/{path}", "<unmatched>", 404),
    "Flask": (flask, "/u/3", "/u/<int:id>", "/u/<int:id>", 200),
    "Flask, two doors": (flask_wrapped, "/u/3", "/u/<int:id>", "/u/<int:id>", 200),
    "Flask, 404": (flask, "/nope", "/{path}", "<unmatched>", 404),
}


@row("C3")
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", WSGI.values(), ids=WSGI.keys())
def test_wsgi_in_a_mount(
    registry: CollectorRegistry, expected: Any, adapter: Any, case: Any
) -> None:
    inner, path, mounted, _, status = case
    app = Starlette(routes=[Mount("/old", adapter(inner(registry)))])
    answer = request(PrometheusMiddleware(app, registry=registry), f"/old{path}")
    assert answer.status == status
    check(registry, [(GET, f"/old{mounted}", status, "", "complete")])


@row("C3")
@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", WSGI.values(), ids=WSGI.keys())
def test_wsgi_in_an_adapter(
    registry: CollectorRegistry, expected: Any, adapter: Any, case: Any, root: str
) -> None:
    inner, path, _, route, status = case
    app = PrometheusMiddleware(adapter(inner(registry)), registry=registry)
    request(app, root + path, root_path=root)
    check(registry, [(GET, route, status, "", "complete")])


@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_dispatcher_in_an_adapter_is_in_the_route(
    registry: CollectorRegistry, adapter: Any, root: str
) -> None:
    mounts = DispatcherMiddleware(wsgi_app, {"/pre": flask(registry)})
    app = PrometheusMiddleware(adapter(mounts), registry=registry)
    request(app, f"{root}/pre/u/3", root_path=root)
    check(registry, [(GET, "/pre/u/<int:id>", 200, "", "complete")])


@pytest.mark.parametrize("root", ["", "/api"], ids=["no root path", "root path"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_dispatcher_below_a_mount_is_in_the_route(
    registry: CollectorRegistry, adapter: Any, root: str
) -> None:
    mounts = DispatcherMiddleware(wsgi_app, {"/a": flask(registry), "/b/c": flask(registry)})
    inner = Starlette(routes=[Mount("/in/{tenant}", adapter(mounts))])
    app = Starlette(routes=[Mount("/old", inner)])
    door = PrometheusMiddleware(app, registry=registry)
    for path in ("/a/u/3", "/b/c/u/4"):
        request(door, f"{root}/old/in/ä{path}", root_path=root)
    routes = [f"/old/in/{{tenant}}{mount}/u/<int:id>" for mount in ("/a", "/b/c")]
    check(registry, [(GET, route, 200, "", "complete") for route in routes])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_mount_in_a_copied_scope_is_taken_for_a_dispatchers(
    registry: CollectorRegistry, adapter: Any
) -> None:
    async def rooted(scope: Any, receive: Any, send: Any) -> None:
        scope["root_path"] = "/api"  # as FastAPI(root_path=...) does
        await app(scope, receive, send)

    async def copies(scope: Any, receive: Any, send: Any) -> None:
        await inner(dict(scope), receive, send)

    inner = Starlette(routes=[Mount("/in", adapter(flask(registry)))])
    app = Starlette(routes=[Mount("/old", copies)])
    request(PrometheusMiddleware(rooted, registry=registry), "/api/old/in/u/3")
    check(registry, [(GET, "/old/in/u/<int:id>", 200, "", "complete")])


def endings(registry: CollectorRegistry) -> list[tuple[Any, ...]]:
    """Return status, exception and outcome of all records, those of what is garbage included."""
    gc.collect()
    return [record[2:] for record in records(registry)]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_wsgi_with_a_registry_of_its_own(registry: CollectorRegistry, adapter: Any) -> None:
    other = CollectorRegistry()
    app = Starlette(routes=[Mount("/old", adapter(flask(other)))])
    request(PrometheusMiddleware(app, registry=registry), "/old/u/3")
    check(registry, [(GET, "/old/{path}", 200, "", "complete")])
    # asgiref closes nothing: how it ended is told when nobody has the body any more.
    assert becomes(lambda: endings(other), [(200, "", "complete")]) == [(200, "", "complete")]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_wsgi_below_doors_of_two_registries(registry: CollectorRegistry, adapter: Any) -> None:
    other = CollectorRegistry()
    app = PrometheusMiddleware(adapter(flask(registry)), registry=other)
    request(PrometheusMiddleware(app, registry=registry), "/u/3")
    check(registry, [(GET, "/u/<int:id>", 200, "", "complete")])
    check(other, [(GET, "<unmatched>", 200, "", "complete")])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_bytes_of_wsgi_in_asgi_are_counted_once(registry: CollectorRegistry, adapter: Any) -> None:
    app = Flask(__name__)
    app.post("/length")(lambda: str(len(flask_request.get_data())))
    Prometheus(app, registry=registry)
    door = PrometheusMiddleware(adapter(app), registry=registry)
    request(door, "/length", "POST", body=b"12345", headers={"content-length": "5"})
    samples = collected(registry)
    assert value(samples, "http_request_body_bytes_total") == 5
    assert value(samples, "http_response_body_bytes_total") == 1
    assert value(samples, "http_requests_in_progress") == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_concurrent_requests_through_an_adapter(registry: CollectorRegistry, adapter: Any) -> None:
    app = Starlette(routes=[Mount("/old", adapter(flask(registry))), Mount("/new", ok)])
    app = PrometheusMiddleware(app, registry=registry)

    async def main() -> None:
        targets = ["/old/u/3", "/new/x", "/old/nope"] * 10
        calls = [exchange(app, http_scope(target), http_server()) for target in targets]
        await asyncio.gather(*calls)

    asyncio.run(main())
    samples = collected(registry)
    for route in ("/old/u/<int:id>", "/new/{path}", "/old/{path}"):
        assert value(samples, "http_requests_total", {"route": route}) == 10
    assert in_progress(registry) == 0


class Kept:
    """Something of a request's that should go with it."""


def test_a_task_that_is_left_behind_keeps_no_request(registry: CollectorRegistry) -> None:
    """It has the context that it was made in, where WSGI doors look for the outer request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.create_task(asyncio.Event().wait()))
        await ok(scope, receive, send)

    async def serve() -> Any:
        scope, server = http_scope("/", state=Kept()), http_server()
        vars(server)["scope"] = scope  # what sends the messages has it, as a rule
        await door(scope, server.receive, server.send)
        return ref(scope["state"])

    async def main() -> None:
        kept = await asyncio.create_task(serve())
        gc.collect()
        assert kept() is None
        tasks.pop().cancel()

    WSGIDoor(lambda *_: [], registry=CollectorRegistry())  # one that may be inside
    door = PrometheusMiddleware(app, registry=registry)
    tasks: list[Any] = []
    asyncio.run(main())
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("inner", [plain, make_wsgi_app], ids=["door", "make_wsgi_app"])
def test_a_scrape_through_an_adapter_is_not_recorded(
    registry: CollectorRegistry, adapter: Any, inner: Any
) -> None:
    app = Starlette(routes=[Mount("/old", adapter(inner(registry)))])
    app = PrometheusMiddleware(app, registry=registry, metrics_path=None)
    answer = request(app, "/old/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    check(registry, [])


def asgi_in_wsgi(registry: CollectorRegistry, inner: Any, **options: Any) -> Any:
    """Return a WSGI door around a dispatcher that has an ASGI application at `/api`."""
    mounts = {"/api": a2wsgi.ASGIMiddleware(inner)}
    return WSGIDoor(DispatcherMiddleware(wsgi_app, mounts), registry=registry, **options)


@pytest.mark.parametrize(
    ("path", "route", "status", "error"),
    [
        ("/users/3", "/api/users/{id}", 200, ""),
        ("/nope", "<unmatched>", 404, ""),
        ("/boom", "/api/boom", 500, "ValueError"),
    ],
)
def test_asgi_in_wsgi(
    registry: CollectorRegistry, path: str, route: str, status: int, error: str
) -> None:
    other = CollectorRegistry()
    inner = PrometheusMiddleware(Starlette(routes=inner_routes()), registry=registry)
    app = asgi_in_wsgi(registry, PrometheusMiddleware(inner, registry=other))
    bare = asgi_in_wsgi(CollectorRegistry(), Starlette(routes=inner_routes()))
    queued = {"HTTP_X_REQUEST_START": f"t={time() - 1}"}
    found, expected = (call(one, environ(path=f"/api{path}", **queued)) for one in (app, bare))
    assert (found.begun, found.body) == (expected.begun, expected.body)
    check(registry, [(GET, route, status, "", "complete")], *filter(None, [error]))
    assert value(collected(registry), "http_request_queue_seconds_count") == 1
    assert value(collected(other), "http_requests_total", {"status": str(status)}) == 1


def test_asgi_in_wsgi_where_only_the_inner_door_excludes(registry: CollectorRegistry) -> None:
    bare = Starlette(routes=inner_routes())
    inner = PrometheusMiddleware(bare, registry=registry, exclude=[re.compile("/users/")])
    call(asgi_in_wsgi(registry, inner), environ(path="/api/users/3"))
    check(registry, [(GET, "/api/users/{id}", 200, "", "complete")])


def test_a_scrape_of_asgi_in_wsgi_is_not_recorded(registry: CollectorRegistry) -> None:
    inner = PrometheusMiddleware(ok, registry=registry)
    answer = call(asgi_in_wsgi(registry, inner), environ(path="/api/metrics"))
    assert b'http_requests_in_progress{method="GET"} 0.0' in answer.body
    check(registry, [])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_wsgi_in_asgi_in_wsgi(registry: CollectorRegistry, adapter: Any) -> None:
    inner = PrometheusMiddleware(adapter(flask(registry)), registry=registry)
    call(WSGIDoor(a2wsgi.ASGIMiddleware(inner), registry=registry), environ(path="/u/3"))
    check(registry, [(GET, "/u/<int:id>", 200, "", "complete")])
