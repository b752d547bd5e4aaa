"""The rules on FastAPI's routers, dependencies and error handlers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry

from asgi.driver import check, request
from metrics import collected, in_progress, value
from prom_middleware.asgi import PrometheusMiddleware, routing

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def broken() -> None:
    raise RuntimeError("broken")


def login() -> None:
    raise HTTPException(401)


def make_app(**options: Any) -> FastAPI:
    """Return an application with a router in a router, each included twice."""
    app = FastAPI(**options)
    r1, r2 = APIRouter(prefix="/r1"), APIRouter(prefix="/r2")

    @r2.get("/y/{b}")
    async def y(b: str) -> str:
        return b

    @r2.get("/dep/{b}", dependencies=[Depends(broken)])
    async def dep(b: str) -> str:
        return b

    @r1.get("/x/{a}")
    def x(a: str) -> str:
        return a

    r1.include_router(r2, prefix="/in")
    app.include_router(r1, prefix="/v1")
    app.include_router(r1, prefix="/v2")
    _add_routes(app)
    return app


def _add_routes(app: FastAPI) -> None:
    @app.get("/items/{id}")
    async def item(id: int) -> int:  # noqa: A002
        return id

    @app.get("/many/{id}")
    @app.put("/many/{id}")
    async def many(id: str) -> str:  # noqa: A002
        return id

    @app.get("/rest/{rest:path}")
    async def rest(rest: str) -> str:
        return rest

    @app.get("/login/{id}", dependencies=[Depends(login)])
    async def private(id: str) -> str:  # noqa: A002
        return id

    @app.get("/model", response_model=int)
    async def model() -> Any:
        return "not a number"

    @app.get("/teapot", status_code=418)
    async def teapot() -> Response:
        return Response(status_code=418)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]), media_type="text/event-stream")

    _add_mounts(app)


def _add_mounts(app: FastAPI) -> None:
    below = FastAPI()

    @below.get("/s/{q}")
    async def s(q: str) -> str:
        return q

    app.mount("/sub", below)
    app.mount("/st", StaticFiles(directory=Path(__file__).parent))


API = {"root_path": "/api"}

# (method, target, more of the scope, route, status), and the exceptions after the end.
ROUTED = {
    "A59": (GET, "/items/3", {}, "/items/{id}", 200),
    "A60": (GET, "/items/three", {}, "/items/{id}", 422),
    "A61": ("HEAD", "/items/3", {}, "/items/{id}", 405),
    "A62": (GET, "/v1/r1/x/1", {}, "/v1/r1/x/{a}", 200),
    "A64": (GET, "/v2/r1/in/r2/y/1", {}, "/v2/r1/in/r2/y/{b}", 200),
    "A65": ("POST", "/v2/r1/in/r2/y/1", {}, "/v2/r1/in/r2/y/{b}", 405),
    "A66": (GET, "/sub/s/1", {}, "/sub/s/{q}", 200),
    "A68": (GET, "/docs", {}, "/docs", 200),
    "A69": (GET, "/openapi.json", {}, "/openapi.json", 200),
    "A71": (GET, "/st/nope", {}, "/st/{path}", 404),
    "A72": (GET, "/items/3/", {}, "<unmatched>", 307),
    "A73": (GET, "/nope", {}, "<unmatched>", 404),
    "A75": (GET, "/v1/r1/in/r2/dep/1", {}, "/v1/r1/in/r2/dep/{b}", 500, "RuntimeError"),
    "the second include": (GET, "/v2/r1/x/1", {}, "/v2/r1/x/{a}", 200),
    "nested, the first include": (GET, "/v1/r1/in/r2/y/1", {}, "/v1/r1/in/r2/y/{b}", 200),
    "405 of an included router": ("POST", "/v1/r1/x/1", {}, "/v1/r1/x/{a}", 405),
    "404 below an included prefix": (GET, "/v1/r1/nope", {}, "<unmatched>", 404),
    "raising in the second include": (
        *(GET, "/v2/r1/in/r2/dep/1", {}, "/v2/r1/in/r2/dep/{b}", 500),
        "RuntimeError",
    ),
    "404 in a sub-application": (GET, "/sub/nope", {}, "/sub/{path}", 404),
    "405 in a sub-application": ("POST", "/sub/s/1", {}, "/sub/s/{q}", 405),
    "slash redirect in a sub-application": (GET, "/sub/s/1/", {}, "/sub/{path}", 307),
    "documentation of a sub-application": (GET, "/sub/docs", {}, "/sub/docs", 200),
    "/redoc": (GET, "/redoc", {}, "/redoc", 200),
    "HEAD of the documentation": ("HEAD", "/docs", {}, "/docs", 200),
    "405 of the documentation": ("POST", "/docs", {}, "/docs", 405),
    "static file": (GET, "/st/driver.py", {}, "/st/{path}", 200),
    "one of many methods": ("PUT", "/many/1", {}, "/many/{id}", 200),
    "none of many methods": ("POST", "/many/1", {}, "/many/{id}", 405),
    "OPTIONS": ("OPTIONS", "/items/3", {}, "/items/{id}", 405),
    "unknown method": ("FOO", "/items/3", {}, "/items/{id}", 405),
    "path convertor": (GET, "/rest/a/b", {}, "/rest/{rest}", 200),
    "dependency that refuses": (GET, "/login/1", {}, "/login/{id}", 401),
    "response that is not the model": (GET, "/model", {}, "/model", 500, "ResponseValidationError"),
    "status of its own": (GET, "/teapot", {}, "/teapot", 418),
    "root path": (GET, "/api/v2/r1/in/r2/y/1", API, "/v2/r1/in/r2/y/{b}", 200),
    "root path, sub-application": (GET, "/api/sub/s/1", API, "/sub/s/{q}", 200),
    "root path, 404 in a sub-application": (GET, "/api/sub/nope", API, "/sub/{path}", 404),
    "root path, 404": (GET, "/api/nope", API, "<unmatched>", 404),
    "root path that was stripped": (GET, "/items/3", API, "/items/{id}", 200),
    "percent in the path": (GET, "/v1/r1/x/%25%2525", {}, "/v1/r1/x/{a}", 200),
}


def around(app: FastAPI, **options: Any) -> Any:
    return PrometheusMiddleware(app, **options)


def added(app: FastAPI, **options: Any) -> Any:
    app.add_middleware(PrometheusMiddleware, **options)
    return app


@pytest.mark.parametrize("case", ROUTED.values(), ids=ROUTED.keys())
def test_routes(registry: CollectorRegistry, case: Any) -> None:
    method, target, scope, route, status, *late = case
    answer = request(around(make_app(), registry=registry), target, method, **scope)
    assert (answer.status, answer.raised) == (status, "".join(late))
    check(registry, [(method.replace("FOO", "_OTHER"), route, status, "", "complete")], *late)


@pytest.mark.parametrize("case", ROUTED.values(), ids=ROUTED.keys())
def test_routes_with_the_door_added(registry: CollectorRegistry, case: Any) -> None:
    method, target, scope, route, status, *late = case
    request(added(make_app(), registry=registry), target, method, **scope)
    # Below the error pages, an exception comes before any answer.
    ending = (late[0], "error") if late else ("", "complete")
    check(registry, [(method.replace("FOO", "_OTHER"), route, status, *ending)])


# Behind a proxy that strips the root path, what is mounted is given the whole path: "/sub/s/1".
@pytest.mark.parametrize(
    ("target", "route", "status"),
    [
        ("/items/3", "/items/{id}", 200),
        ("/proxy/items/3", "/items/{id}", 200),
        ("/sub/s/1", "/sub/{path}", 404),
        ("/proxy/sub/s/1", "/sub/s/{q}", 200),
        ("/sub/x", "/sub/{path}", 404),
        ("/proxy/sub/x", "/sub/{path}", 404),
    ],
)
@pytest.mark.parametrize("door", [around, added])
@pytest.mark.filterwarnings("ignore:.*root_path")
def test_a_root_path_of_its_own_is_no_mount(
    registry: CollectorRegistry, target: str, route: str, status: int, door: Any
) -> None:
    answer = request(door(make_app(root_path="/proxy"), registry=registry), target)
    assert answer.status == status
    check(registry, [("GET", route, status, "", "complete")])


PREFLIGHT = {"origin": "http://a", "access-control-request-method": "GET"}


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/items/3", "/items/{id}"),
        ("/v1/r1/x/1", "/v1/r1/x/{a}"),
        ("/v2/r1/in/r2/y/1", "/v2/r1/in/r2/y/{b}"),
        ("/sub/s/1", "/sub/s/{q}"),
        ("/sub/nope", "/sub/{path}"),
        ("/nope", "<unmatched>"),
    ],
)
@pytest.mark.parametrize("door", [around, added])
def test_a_preflight_is_named_by_its_route(
    registry: CollectorRegistry, target: str, route: str, door: Any
) -> None:
    app = make_app()
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    request(door(app, registry=registry), target, "OPTIONS", headers=PREFLIGHT)
    check(registry, [("OPTIONS", route, 200, "", "complete")])


def test_an_http_middleware_that_refuses(registry: CollectorRegistry) -> None:
    app = make_app()

    @app.middleware("http")
    async def refuse(request: Any, call_next: Any) -> Response:
        return Response(status_code=403)

    request(around(app, registry=registry), "/v2/r1/in/r2/y/1")
    check(registry, [(GET, "/v2/r1/in/r2/y/{b}", 403, "", "complete")])


def test_an_http_middleware_that_passes(registry: CollectorRegistry) -> None:
    app = make_app()

    @app.middleware("http")
    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    request(around(app, registry=registry), "/v2/r1/in/r2/y/1")
    check(registry, [(GET, "/v2/r1/in/r2/y/{b}", 200, "", "complete")])


def test_a_handler_of_its_own(registry: CollectorRegistry) -> None:
    app = make_app()

    @app.exception_handler(RuntimeError)
    async def handler(request: Any, error: RuntimeError) -> Response:
        return Response(status_code=503)

    request(around(app, registry=registry), "/v1/r1/in/r2/dep/1")
    check(registry, [(GET, "/v1/r1/in/r2/dep/{b}", 503, "", "complete")])


def test_a_dependency_that_raises_at_its_end(registry: CollectorRegistry) -> None:
    """Before or after the response, as the version has it: it is complete in both."""

    def resource() -> Any:
        yield
        raise RuntimeError("late")

    app = FastAPI()
    app.get("/late/{n}", dependencies=[Depends(resource)])(lambda n: n)
    answer = request(around(app, registry=registry), "/late/1")
    check(registry, [(GET, "/late/{n}", answer.status, "", "complete")], "RuntimeError")


def test_background_tasks_come_after_the_end(registry: CollectorRegistry) -> None:
    app, seen = FastAPI(), []

    def task() -> None:
        count = value(collected(registry), "http_request_duration_seconds_count")
        seen.append((count, in_progress(registry)))

    @app.get("/bg")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(task)
        return "ok"

    request(around(app, registry=registry), "/bg")
    assert seen == [(1.0, 0.0)]
    check(registry, [(GET, "/bg", 200, "", "complete")])


def test_an_event_stream_is_not_a_latency(registry: CollectorRegistry) -> None:
    request(around(make_app(), registry=registry), "/stream", spec="2.4")
    check(registry, [(GET, "/stream", 200, "", "complete")])
    samples, route = collected(registry), {"route": "/stream"}
    assert value(samples, "http_stream_duration_seconds_count", route) == 1
    assert value(samples, "http_request_duration_seconds_count", route) == 0
    assert value(samples, "http_response_body_bytes_total", route) == 2


def test_bytes_of_requests(registry: CollectorRegistry) -> None:
    app = FastAPI()

    @app.post("/sum")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    headers = {"content-type": "application/json", "content-length": "nonsense"}
    target = around(app, registry=registry)
    assert request(target, "/sum", "POST", body=[b"[1,2", b",3]"], headers=headers).body == b"6"
    samples = collected(registry)
    assert value(samples, "http_request_body_bytes_total", {"route": "/sum"}) == 7
    assert value(samples, "http_response_body_bytes_total", {"route": "/sum"}) == 1


def test_routers_that_are_included_later(registry: CollectorRegistry) -> None:
    application, late = make_app(), APIRouter(prefix="/late")
    app = around(application, registry=registry)
    request(app, "/items/3")

    @late.get("/{x}")
    async def endpoint(x: str) -> str:
        return x

    application.include_router(late, prefix="/v3")
    request(app, "/v3/late/1")
    for route in ("/items/{id}", "/v3/late/{x}"):
        assert value(collected(registry), "http_requests_total", {"route": route}) == 1


def test_a_route_of_starlette_in_a_router_that_is_included_twice(
    registry: CollectorRegistry,
) -> None:
    app, router = FastAPI(), APIRouter()
    router.add_route("/plain/{x}", lambda request: Response())
    for prefix in ("/v1", "/v2"):
        app.include_router(router, prefix=prefix)
    door = PrometheusMiddleware(app, registry=registry)
    for prefix in ("/v1", "/v2"):
        request(door, f"{prefix}/plain/1")
    found = [(GET, f"/{prefix}/plain/{{x}}", 200, "", "complete") for prefix in ("v1", "v2")]
    check(registry, found)


@pytest.mark.parametrize("most", [0, 64], ids=["after many strangers", "before"])
@pytest.mark.parametrize("outer", ["", "/v0"], ids=["once", "in another"])
def test_routes_that_are_added_to_an_included_router(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, outer: str, most: int
) -> None:
    monkeypatch.setattr(routing, "_MOST_STRANGERS", most)
    application, router = FastAPI(), APIRouter()
    router.add_api_route("/a/{x}", lambda x: x)
    around_it = APIRouter()
    around_it.include_router(router, prefix="/v1")
    application.include_router(around_it, prefix=outer)
    app = around(application, registry=registry)
    request(app, f"{outer}/v1/a/1")
    router.add_api_route("/b/{y}", lambda y: y)
    if request(app, f"{outer}/v1/b/1").status == 404:
        pytest.skip("this FastAPI copies the routes that are included")
    found = [(GET, f"{outer}/v1/{route}", 200, "", "complete") for route in ("a/{x}", "b/{y}")]
    check(registry, found)


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI has no frontends")
def test_a_frontend(registry: CollectorRegistry, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    app = make_app()
    app.frontend("/ui", directory=str(tmp_path))
    request(around(app, registry=registry), "/ui/index.html")
    check(registry, [(GET, "/ui/{path}", 200, "", "complete")])


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI has no frontends")
def test_what_is_refused_before_a_frontend_is_named_by_it(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    app, router = make_app(), APIRouter()
    app.frontend("/ui", directory=str(tmp_path))
    router.frontend("/near", directory=str(tmp_path))
    app.include_router(router, prefix="/ui")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["elsewhere"])
    observed = around(app, registry=registry)
    for path in ("/ui/index.html", "/ui", "/ui/near/x", "/uix", "/nothing"):
        assert request(observed, path).status == 400
    routes = ["/ui/near/{path}"] + ["/ui/{path}"] * 2 + ["<unmatched>"] * 2
    check(registry, [(GET, route, 400, "", "complete") for route in routes])
