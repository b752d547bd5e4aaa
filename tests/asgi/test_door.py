"""The door: three ways to install it, its options, and what it answers on /metrics."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router

from asgi.driver import (
    LAST,
    STARTED,
    Answer,
    Server,
    check,
    http_scope,
    http_server,
    ok,
    request,
    row,
    run,
    sending,
)
from metrics import collected, in_progress, records, series, value
from naming import without_address
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware, make_asgi_app

GET = "GET"
UNMATCHED = (GET, "<unmatched>")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def boom(request: Request) -> Response:
    raise ValueError("boom")


def routes() -> list[Any]:
    return [Route("/", hello), Route("/users/{id}", hello), Route("/boom", boom)]


def added(app: Any, **options: Any) -> Any:
    app.add_middleware(PrometheusMiddleware, **options)
    return app


DOORS = [PrometheusMiddleware, added, instrument]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_three_ways_in(registry: CollectorRegistry, kind: Any, door: Callable[..., Any]) -> None:
    app = door(kind(routes=routes()), registry=registry)
    assert request(app, "/users/3").body == b"hello"
    check(registry, [(GET, "/users/{id}", 200, "", "complete")])
    assert b"/users/{id}" in request(app, "/metrics").body
    assert request(app, "/metrics/").status == 200
    check(registry, [(GET, "/users/{id}", 200, "", "complete")])


def test_instrument_is_outermost(registry: CollectorRegistry) -> None:
    app = instrument(Starlette(routes=routes()), registry=registry)
    assert request(app, "/boom").raised == "ValueError"
    check(registry, [(GET, "/boom", 500, "", "complete")], "ValueError")


def test_instrument_gives_back_the_application(registry: CollectorRegistry) -> None:
    app = FastAPI()
    assert instrument(app, registry=registry) is app
    app.get("/late/{n}")(lambda n: n)
    request(app, "/late/3")
    check(registry, [(GET, "/late/{n}", 200, "", "complete")])


def test_instrument_a_raw_application(registry: CollectorRegistry) -> None:
    request(instrument(ok, registry=registry))
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.parametrize("kind", [Router, APIRouter])
def test_instrument_a_router(registry: CollectorRegistry, kind: Any) -> None:
    request(instrument(kind(routes=routes()), registry=registry), "/users/3")
    check(registry, [(GET, "/users/{id}", 200, "", "complete")])


def test_middleware_added_after_instrument_is_below_it(registry: CollectorRegistry) -> None:
    app = instrument(Starlette(routes=routes()), registry=registry)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["other"])
    assert request(app, "/users/3").status == 400
    check(registry, [(GET, "/users/{id}", 400, "", "complete")])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_lifespan_runs(registry: CollectorRegistry, kind: Any, door: Any) -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        events.append("up")
        yield {"pool": "ready"}
        events.append("down")

    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    script = [{"type": "lifespan.startup"}]
    app = door(kind(lifespan=lifespan), registry=registry)
    answer = run(app, scope, lambda: Server(script, {"type": "lifespan.shutdown"}))
    assert events == ["up", "down"]
    assert scope["state"] == {"pool": "ready"}
    sent = [message["type"] for message in answer.sent]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    check(registry, [])


def test_instrumented_twice_is_recorded_once(registry: CollectorRegistry) -> None:
    app = instrument(Starlette(routes=routes()), registry=registry)
    request(instrument(app, registry=registry), "/users/3")
    check(registry, [(GET, "/users/{id}", 200, "", "complete")])


@pytest.mark.parametrize("door", DOORS)
def test_the_same_application_built_twice(registry: CollectorRegistry, door: Any) -> None:
    for _ in range(2):
        request(door(Starlette(routes=routes()), registry=registry), "/users/3")
    check(registry, [(GET, "/users/{id}", 200, "", "complete")] * 2)


# Scrapes.


def samples_of(answer: Answer) -> Any:
    return series(answer.body.decode())


@pytest.mark.parametrize("app", [ok, Starlette(routes=routes()), FastAPI()], ids=without_address)
@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/metrics", ""),
        ("/metrics/", ""),
        ("/metrics?name[]=nothing", ""),
        ("/api/metrics", "/api"),
        ("/api/metrics/", "/api"),
        ("/metrics", "/api"),
        ("/metrics", "/met"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_scrapes(registry: CollectorRegistry, app: Any, path: str, root: str, method: str) -> None:
    app = PrometheusMiddleware(app, registry=registry)
    answer = request(app, path, method, root_path=root)
    assert answer.statuses == [200]
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "set-cookie" not in answer.headers
    if method == "GET":
        assert int(answer.headers["content-length"]) == len(answer.body)
    else:
        assert answer.body == b""
        assert int(answer.headers["content-length"]) >= 0
    check(registry, [])


def test_head_tells_the_length(registry: CollectorRegistry) -> None:
    Counter("mine", "Mine.", registry=registry).inc()
    app = PrometheusMiddleware(ok, registry=registry, metrics_path="/metrics")
    lengths = {
        method: request(app, "/metrics?name[]=mine_total", method).headers["content-length"]
        for method in ("GET", "HEAD")
    }
    assert lengths["GET"] == lengths["HEAD"] != "0"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO", "get"])
@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_other_methods_are_not_allowed(registry: CollectorRegistry, method: str, path: str) -> None:
    answer = request(PrometheusMiddleware(ok, registry=registry), path, method)
    assert answer.status == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD"}
    check(registry, [])


@pytest.mark.parametrize(
    ("metrics_path", "target"),
    [
        (None, "/metrics"),
        ("/-/stats", "/metrics"),
        ("/metrics", "/users/metrics"),
        ("/metrics", "/metrics/more"),
        ("/metrics", "/metricsx"),
        ("/metrics", "//metrics"),
        ("/metrics", "/Metrics"),
    ],
)
def test_paths_that_are_the_applications(
    registry: CollectorRegistry, metrics_path: str | None, target: str
) -> None:
    app = PrometheusMiddleware(ok, registry=registry, metrics_path=metrics_path)
    assert request(app, target).body == b"ok"
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.parametrize("metrics_path", ["/-/stats", "/-/stats/"])
def test_another_metrics_path(registry: CollectorRegistry, metrics_path: str) -> None:
    app = PrometheusMiddleware(ok, registry=registry, metrics_path=metrics_path)
    for target in ("/-/stats", "/-/stats/"):
        assert b"# HELP" in request(app, target).body
    check(registry, [])


@row("C5")
@pytest.mark.parametrize("door", DOORS)
def test_a_scrape_does_not_count_itself(
    registry: CollectorRegistry, expected: Any, door: Any
) -> None:
    app = door(Starlette(routes=routes()), registry=registry)
    for before in range(3):
        samples = samples_of(request(app, "/metrics"))
        assert value(samples, "prom_middleware_scrapes_total", {"code": "200"}) == before
        assert value(samples, "prom_middleware_scrape_duration_seconds_count") == before
        assert value(samples, "http_requests_in_progress") == 0
    check(registry, expected)


def test_a_mounted_metrics_application_is_not_recorded(registry: CollectorRegistry) -> None:
    mounted = Mount("/stats", make_asgi_app(registry))
    app = PrometheusMiddleware(Starlette(routes=[mounted]), registry=registry, metrics_path=None)
    assert b"# HELP" in request(app, "/stats/").body
    check(registry, [])


def test_an_inner_doors_metrics_are_not_recorded(registry: CollectorRegistry) -> None:
    inner = added(Starlette(routes=routes()), registry=registry)
    app = PrometheusMiddleware(Starlette(routes=[Mount("/in", inner)]), registry=registry)
    assert request(app, "/in/metrics").status == 200
    check(registry, [])


@pytest.mark.parametrize(
    ("answer", "status"),
    [(True, 200), (False, 403)],
)
def test_access_is_asked(registry: CollectorRegistry, answer: bool, status: int) -> None:
    app = PrometheusMiddleware(ok, registry=registry, access=lambda request: answer)
    assert request(app, "/metrics").status == status
    assert request(app, "/other").status == 200
    check(registry, [(*UNMATCHED, 200, "", "complete")])


def test_two_applications_on_one_registry(registry: CollectorRegistry) -> None:
    one = PrometheusMiddleware(Starlette(routes=[Route("/one", hello)]), registry=registry)
    two = PrometheusMiddleware(Starlette(routes=[Route("/two", hello)]), registry=registry)
    request(one, "/one")
    request(two, "/two")
    expected = [(GET, "/one", 200, "", "complete"), (GET, "/two", 200, "", "complete")]
    check(registry, expected)
    samples = samples_of(request(one, "/metrics"))
    assert value(samples, "http_requests_total", {"route": "/two"}) == 1


@pytest.mark.parametrize("target", ["/metrics", "/other"])
def test_a_scope_without_the_optional_keys(registry: CollectorRegistry, target: str) -> None:
    scope = http_scope(target)
    for key in ("scheme", "raw_path", "root_path", "client", "server"):
        del scope[key]
    labels = {"agent": lambda facts: facts.headers.get("user-agent")}
    app = PrometheusMiddleware(ok, registry=registry, labels=labels, exclude="/never")
    assert run(app, scope, http_server).status == 200
    assert len(records(registry)) == (target == "/other")


# Options.


@pytest.mark.parametrize("name", ["x-request-start", "x-queue-start"])
@pytest.mark.parametrize("stamp", ["t={:.3f}", "{:.0f}", "t={}000"], ids=["s", "ms", "us"])
def test_the_time_in_the_queue(registry: CollectorRegistry, name: str, stamp: str) -> None:
    unit = 1 if ".3f" in stamp else 1000
    instant = (time.time() - 30) * unit
    header = stamp.format(int(instant) if unit > 1 else instant)
    request(PrometheusMiddleware(ok, registry=registry), headers={name: header})
    samples = collected(registry)
    assert value(samples, "http_request_queue_seconds_count") == 1
    assert 29 <= value(samples, "http_request_queue_seconds_sum") < 600


@pytest.mark.parametrize(
    "headers",
    [
        [("x-request-start", 30), ("x-request-start", 300)],
        [("x-queue-start", 300), ("x-request-start", 30)],
        [("x-queue-start", 300), ("x-request-start", 30), ("x-queue-start", 3000)],
    ],
)
def test_one_time_in_the_queue_the_first_of_the_first_name(
    registry: CollectorRegistry, headers: list[tuple[str, float]]
) -> None:
    stamped = [(name.encode(), b"%f" % (time.time() - ago)) for name, ago in headers]
    scope = {**http_scope(), "headers": stamped}
    run(PrometheusMiddleware(ok, registry=registry), scope, http_server)
    samples = collected(registry)
    assert value(samples, "http_request_queue_seconds_count") == 1
    assert 29 <= value(samples, "http_request_queue_seconds_sum") < 100


def test_other_headers_are_not_read_for_it(registry: CollectorRegistry) -> None:
    headers = [(b"x-request-start", b"%f" % (time.time() - 30)), (b"x-odd", memoryview(b"odd"))]
    run(
        PrometheusMiddleware(ok, registry=registry),
        {**http_scope(), "headers": headers},
        http_server,
    )
    assert value(collected(registry), "http_request_queue_seconds_count") == 1
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.parametrize("header", [None, "", "soon", "t=", "t=-5", "1", "NaN", "9" * 400])
def test_no_time_in_the_queue(registry: CollectorRegistry, header: str | None) -> None:
    headers = {} if header is None else {"x-request-start": header}
    request(PrometheusMiddleware(ok, registry=registry), headers=headers)
    assert value(collected(registry), "http_request_queue_seconds_count") == 0
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.parametrize(
    "exclude",
    ["/health", ["/health"], re.compile("^/hea"), [lambda path: path == "/health"]],
    ids=["string", "list", "pattern", "callable"],
)
@pytest.mark.parametrize("root", ["", "/api"])
def test_excluded_paths(registry: CollectorRegistry, exclude: Any, root: str) -> None:
    app = PrometheusMiddleware(ok, registry=registry, exclude=exclude)
    headers = {"x-request-start": str(time.time() - 1)}
    answer = request(app, f"{root}/health", root_path=root, headers=headers)
    assert (answer.status, answer.body) == (200, b"ok")
    check(registry, [])
    assert value(collected(registry), "http_request_queue_seconds_count") == 0
    request(app, f"{root}/health/deep" if exclude == "/health" else f"{root}/", root_path=root)
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.parametrize(("exclude", "recorded"), [("/in/health", False), ("/health", True)])
def test_the_path_that_is_excluded_has_the_mounts_of_the_application(
    registry: CollectorRegistry, exclude: str, recorded: bool
) -> None:
    """A mount of Starlette adds to the root path, and keeps the server's own beside it."""
    app = PrometheusMiddleware(ok, registry=registry, exclude=exclude)
    request(app, "/api/in/health", root_path="/api/in", app_root_path="/api")
    check(registry, [(*UNMATCHED, 200, "", "complete")] if recorded else [])


def test_an_exclusion_that_raises_breaks_nothing(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(ok, registry=registry, exclude=lambda path: 1 / 0)
    before = value(collected(registry), "prom_middleware_errors_total")
    assert request(app, failing=True).body == b"ok"
    assert value(collected(registry), "prom_middleware_errors_total") == before + 1
    assert in_progress(registry) == 0


def test_extra_labels(registry: CollectorRegistry) -> None:
    statuses = []

    def tenant(facts: Any) -> str:
        statuses.append(
            (facts.method, facts.path, facts.route, facts.status, facts.request["type"])
        )
        return facts.headers["x-tenant"]

    labels = {"region": "eu", "tenant": tenant}
    app = PrometheusMiddleware(ok, registry=registry, labels=labels)
    request(app, "/api/a", root_path="/api", headers={"X-Tenant": "acme"})
    expected = {"region": "eu", "tenant": "acme", "status": "200"}
    assert value(collected(registry), "http_requests_total", expected) == 1
    assert statuses == [("GET", "/a", "<unmatched>", "200", "http")]


@pytest.mark.parametrize("answer", [None, "x" * 10_000, 7, "\ud800", ZeroDivisionError()])
def test_labels_that_cannot_be_break_nothing(registry: CollectorRegistry, answer: Any) -> None:
    def label(facts: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    app = PrometheusMiddleware(ok, registry=registry, labels={"extra": label})
    assert request(app, failing=True).body == b"ok"
    check(registry, [(*UNMATCHED, 200, "", "complete")])


def test_a_door_that_was_not_made_says_so() -> None:
    class Unmade(PrometheusMiddleware):
        def __init__(self, app: Any) -> None:
            self.app = app

    assert isinstance(request(Unmade(ok)).error, AttributeError)


def test_what_is_patched_for_a_while_is_as_it_was(registry: CollectorRegistry) -> None:
    door = PrometheusMiddleware(ok, registry=registry)
    with mock.patch.object(door, "app", sending(STARTED, LAST)):
        assert request(door).body == b"last"
    assert request(door).body == b"ok"


def test_a_derived_class_says_what_its_application_is(registry: CollectorRegistry) -> None:
    class Chosen(PrometheusMiddleware):
        app = property(lambda self: sending(STARTED, LAST), lambda self, app: None)

    assert request(Chosen(ok, registry=registry)).body == b"last"


def test_around_another_application_it_keeps_all_that_it_has(registry: CollectorRegistry) -> None:
    door = PrometheusMiddleware(ok, registry=registry)
    door.note = "of its user"
    moved = door.around(PrometheusMiddleware(ok, registry=CollectorRegistry()))
    assert (type(moved), vars(moved)["note"]) == (PrometheusMiddleware, "of its user")
    assert door.app is ok
    assert request(moved).body == b"ok"
    check(registry, [(*UNMATCHED, 200, "", "complete")])


@pytest.mark.interpreted
def test_around_another_application_a_derived_class_keeps_its_slots() -> None:
    class Slotted(PrometheusMiddleware):
        __slots__ = ("note",)

    door: Any = Slotted(ok, registry=CollectorRegistry())
    door.note = "of its user"
    moved: Any = door.around(PrometheusMiddleware(ok, registry=CollectorRegistry()))
    assert moved.note == "of its user"
