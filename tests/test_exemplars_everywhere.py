"""Every door shows the trace of a request: its header's, or OpenTelemetry's own span around it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from failsafe_apps import (
    REQUESTS,
    TRACEPARENT,
    Request,
    asgi_app,
    asgi_client,
    wsgi_app,
    wsgi_client,
)
from failsafe_doors import INSTALLED, Door
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.instrumentation.tracing import TRACING
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor

TRACER = TracerProvider().get_tracer("prom_middleware.tests")
_, TRACE, SPAN, _ = TRACEPARENT.decode().split("-")
DURATION, TOTAL = "http_request_duration_seconds", "http_requests"


def exemplars(registry: CollectorRegistry, name: str = DURATION) -> list[dict[str, str]]:
    return [
        sample.exemplar.labels
        for family in registry.collect()
        if family.name == name
        for sample in family.samples
        if sample.exemplar is not None
    ]


def ids(span: Any) -> dict[str, str]:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


@pytest.mark.parametrize("door", INSTALLED)
@pytest.mark.parametrize("name", [DURATION, TOTAL])
def test_the_header(door: str, name: str) -> None:
    asked = Door(INSTALLED[door], "traced")
    asked.ask()
    assert exemplars(asked.registry, name) == [{"trace_id": TRACE, "span_id": SPAN}]


@pytest.mark.parametrize("door", INSTALLED)
def test_without_the_header(door: str) -> None:
    asked = Door(INSTALLED[door], "plain")
    asked.ask()
    assert exemplars(asked.registry) == []


@pytest.mark.parametrize("door", INSTALLED)
def test_two_headers_are_none(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if door not in ("asgi", "fastapi", "starlette", "twisted"):
        pytest.skip("a WSGI server has joined them")
    monkeypatch.setitem(REQUESTS, "traced", Request(headers=((b"traceparent", TRACEPARENT),) * 2))
    asked = Door(INSTALLED[door], "traced")
    asked.ask()
    assert exemplars(asked.registry) == []


@pytest.mark.parametrize("door", INSTALLED)
@pytest.mark.parametrize("request_name", ["plain", "traced", "missing", "error"])
def test_a_span_around_the_door(door: str, request_name: str) -> None:
    asked = Door(INSTALLED[door], request_name)
    with TRACER.start_as_current_span("request") as span:
        asked.ask()
    assert exemplars(asked.registry) == [ids(span)]


@pytest.mark.parametrize("door", INSTALLED)
def test_a_span_is_not_asked_for_where_exemplars_are_off(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Request(headers=((b"traceparent", TRACEPARENT),), options={"exemplars": False})
    monkeypatch.setitem(REQUESTS, "traced", off)
    asked = Door(INSTALLED[door], "traced")
    with TRACER.start_as_current_span("request"):
        asked.ask()
    assert exemplars(asked.registry) == []


@pytest.mark.parametrize("door", INSTALLED)
def test_without_opentelemetry_only_the_header_counts(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Door(INSTALLED[door], "traced")
    with TRACER.start_as_current_span("request"), monkeypatch.context() as patch:
        patch.delitem(sys.modules, TRACING)
        asked.ask()
    assert exemplars(asked.registry) == [{"trace_id": TRACE, "span_id": SPAN}]


def test_a_span_inside_asgi() -> None:
    """Instrumentation further in has its span while the last byte is sent."""
    registry, spans = CollectorRegistry(), []

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        with TRACER.start_as_current_span("request") as span:
            spans.append(span)
            await asgi_app(scope, receive, send)

    asgi_client(ASGIDoor(traced, registry=registry), Request())
    assert exemplars(registry) == [ids(spans[0])]


def test_a_span_in_a_task_of_middleware() -> None:
    """Starlette's BaseHTTPMiddleware has a task for what is below, with a context of its own."""
    registry, spans = CollectorRegistry(), []

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    def traced(app: Any) -> Any:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            with TRACER.start_as_current_span("request") as span:
                spans.append(span)
                await app(scope, receive, send)

        return call

    middleware: Any = [Middleware(Passing), Middleware(traced)]
    app = instrument(Starlette(middleware=middleware), registry=registry)
    asgi_client(app, Request())
    assert exemplars(registry) == [ids(spans[0])]


def test_a_span_inside_wsgi() -> None:
    """As Flask's instrumentation has it: the span ends before the body is iterated."""
    registry, spans = CollectorRegistry(), []

    def traced(environ: Any, start_response: Any) -> list[bytes]:
        with TRACER.start_as_current_span("request") as span:
            spans.append(span)
            start_response("200 OK", [])
            return [b"item"]

    wsgi_client(WSGIDoor(traced, registry=registry), Request())
    assert exemplars(registry) == [ids(spans[0])]


def test_the_header_where_the_span_inside_is_not_sampled() -> None:
    registry, unsampled = CollectorRegistry(), TracerProvider(sampler=ALWAYS_OFF).get_tracer("off")

    def traced(environ: Any, start_response: Any) -> Any:
        with unsampled.start_as_current_span("request"):
            return wsgi_app(environ, start_response)

    wsgi_client(WSGIDoor(traced, registry=registry), REQUESTS["traced"])
    assert exemplars(registry) == [{"trace_id": TRACE, "span_id": SPAN}]


def test_the_first_of_two_spans_inside_wsgi() -> None:
    """The second one is of what tells of an error, say: the request had begun in the first."""
    registry, spans = CollectorRegistry(), []

    def traced(environ: Any, start_response: Any) -> list[bytes]:
        for error in (None, (ValueError, ValueError(), None)):
            with TRACER.start_as_current_span("request") as span:
                spans.append(span)
                start_response("200 OK", [], error)
        return [b"item"]

    wsgi_client(WSGIDoor(traced, registry=registry), Request())
    assert exemplars(registry) == [ids(spans[0])]


def test_a_span_inside_flask() -> None:
    flask = pytest.importorskip("flask")
    from prom_middleware.flask import Prometheus

    registry, spans = CollectorRegistry(), []
    app = flask.Flask("traced")
    Prometheus(app, registry=registry)

    @app.before_request
    def begin() -> None:
        flask.g.activation = TRACER.start_as_current_span("request")
        spans.append(flask.g.activation.__enter__())

    @app.teardown_request
    def end(_: object) -> None:
        flask.g.activation.__exit__(None, None, None)

    app.route("/items/3")(lambda: "item")
    wsgi_client(app, Request())
    assert exemplars(registry) == [ids(spans[0])]


@pytest.mark.parametrize("door", [door for door in INSTALLED if door.startswith("django")])
def test_a_span_inside_django(door: str) -> None:
    """As Django's instrumentation has it, where our middleware is outermost."""
    registry = CollectorRegistry()
    client = _traced_django(door, registry)
    SPANS.clear()
    client(Request())
    assert exemplars(registry) == [ids(SPANS[0])]


SPANS: list[Any] = []


def spanning(get_response: Any) -> Any:
    """Make a Django middleware that has a span around what is further in."""
    from asgiref.sync import iscoroutinefunction
    from django.utils.decorators import sync_and_async_middleware

    def make(get_response: Any) -> Any:
        if iscoroutinefunction(get_response):

            async def traced_async(request: Any) -> Any:
                with TRACER.start_as_current_span("request") as span:
                    SPANS.append(span)
                    return await get_response(request)

            return traced_async

        def traced(request: Any) -> Any:
            with TRACER.start_as_current_span("request") as span:
                SPANS.append(span)
                return get_response(request)

        return traced

    return sync_and_async_middleware(make)(get_response)


spanning.sync_capable = spanning.async_capable = True  # type: ignore[attr-defined]


def _traced_django(door: str, registry: CollectorRegistry) -> Any:
    from django.test import override_settings

    build, original = INSTALLED[door].build, override_settings.__init__

    def with_spans(self: Any, **settings: Any) -> None:
        if "MIDDLEWARE" in settings:
            settings["MIDDLEWARE"] = [*settings["MIDDLEWARE"], f"{__name__}.spanning"]
        original(self, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(override_settings, "__init__", with_spans)
        return build({"registry": registry}, 1)


def test_a_span_of_the_server_that_ends_with_the_last_message() -> None:
    # As OpenTelemetry's own middleware has it: what it gives to us as `send` ends the span.
    registry, spans = CollectorRegistry(), []
    door = ASGIDoor(asgi_app, registry=registry)

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        with TRACER.start_as_current_span("server", end_on_exit=False) as span:
            spans.append(span)

            async def ending(message: Any) -> None:
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    span.end()

            await door(scope, receive, ending)

    asgi_client(traced, Request())
    assert exemplars(registry) == [ids(spans[0])]


def test_a_span_that_has_ended_is_none() -> None:
    registry = CollectorRegistry()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with TRACER.start_as_current_span("before"):
            pass
        await asgi_app(scope, receive, send)

    asgi_client(ASGIDoor(app, registry=registry), Request())
    assert exemplars(registry) == []
