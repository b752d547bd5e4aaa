"""The same small application behind every door."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from time import time
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import opentelemetry.trace  # noqa: F401 - doors ask it for the current span once it is there
from prometheus_client import CollectorRegistry, Counter

from failsafe_apps import (
    ASGI_PLACES,
    BOOM,
    HTTP,
    REQUESTS,
    ROUTED,
    WEBSOCKETS,
    Outcome,
    Request,
    asgi_app,
    asgi_client,
    caught,
    pieces,
    wsgi_app,
    wsgi_client,
)
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor

Client = Callable[[Request], Outcome]
Build = Callable[[Mapping[str, Any], int], Client]


def asgi(options: Mapping[str, Any], doors: int) -> Client:
    app: Any = asgi_app
    for _ in range(doors):
        app = ASGIDoor(app, **options)
    return partial(asgi_client, app)


def starlette(options: Mapping[str, Any], doors: int) -> Client:
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    async def stream(_: Any) -> StreamingResponse:
        return StreamingResponse(iter([b"data: 1\n\n"]), media_type="text/event-stream")

    def place(path: str) -> Any:
        return type("Place", (), {"__call__": staticmethod(ASGI_PLACES[path])})()

    inner = Starlette(routes=[Route("/{id}", place("/items/3"), methods=["GET", "POST"])])
    if doors == 2:
        instrument(inner, **options)
    app = Starlette(
        routes=[
            Mount("/items", inner),
            Route("/stream", stream),
            Route("/boom", place("/boom")),
            Route("/late", place("/late")),
            Route("/left", place("/left")),
            WebSocketRoute("/ws", place("/ws")),
            WebSocketRoute("/refused", place("/refused")),
            WebSocketRoute("/wsboom", place("/wsboom")),
        ]
    )
    return partial(asgi_client, instrument(app, **options))


def fastapi(options: Mapping[str, Any], doors: int) -> Client:
    """Return one whose routes are those of a router that was included."""
    from fastapi import APIRouter, FastAPI, Request

    async def item(id, request) -> str:  # type: ignore[no-untyped-def]  # noqa: A002
        await request.body()
        return str(id)

    item.__annotations__ |= {"id": str, "request": Request}  # FastAPI would look in the module
    router = APIRouter(prefix="/items")
    router.add_api_route("/{id}", item, methods=["GET", "HEAD", "POST"], response_model=None)
    app = FastAPI()
    app.include_router(router)
    return partial(asgi_client, instrument(app, **options))


# --- WSGI


def wsgi(options: Mapping[str, Any], doors: int) -> Client:
    app: Any = wsgi_app
    for _ in range(doors):
        app = WSGIDoor(app, **options)
    return partial(wsgi_client, app)


def flask(options: Mapping[str, Any], doors: int) -> Client:
    from flask import Flask, Response, request

    app = Flask("failsafe", static_folder=None)

    @app.route("/items/<int:number>", methods=["GET", "POST"])
    def item(number: int) -> bytes:
        return b"item" + request.get_data()

    @app.route("/stream")
    @app.route("/late")
    def stream() -> Response:
        return Response(pieces(request.path), mimetype="text/event-stream")

    @app.route("/left")
    def left() -> Response:
        return Response(pieces(request.path))

    @app.route("/boom")
    def boom() -> str:
        raise BOOM

    for _ in range(doors):
        instrument(app, **options)
    return partial(wsgi_client, app)


# --- Django


def _django_urls() -> ModuleType:
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import include, path
    from django.views.decorators.csrf import csrf_exempt
    from django.views.decorators.http import require_http_methods

    @csrf_exempt
    @require_http_methods(["GET", "HEAD", "POST"])
    def item(request: Any, number: int) -> HttpResponse:
        return HttpResponse(b"item" + request.read())

    def stream(request: Any) -> StreamingHttpResponse:
        chosen = pieces if "wsgi.input" in request.META else _async_pieces
        return StreamingHttpResponse(chosen(request.path), content_type="text/event-stream")

    def left(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse((pieces if "wsgi.input" in request.META else _waits)(""))

    def boom(_: Any) -> HttpResponse:
        raise BOOM

    urls = ModuleType("failsafe_urls")
    inner = [path("<int:number>", item)]
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("items/", include(inner)),
        path("stream", stream),
        path("late", stream),
        path("left", left),
        path("boom", boom),
    ]
    return urls


async def _async_pieces(path: str) -> Any:
    for piece in pieces(path):
        yield piece


async def _waits(_: str) -> Any:
    yield b"data"
    await asyncio.sleep(0.2)  # Django 4.2 does not notice that its client is gone


def django(asynchronous: bool, options: Mapping[str, Any], doors: int) -> Client:
    return django_client(asynchronous, options, _django_urls, doors)


def django_client(
    asynchronous: bool, options: Mapping[str, Any], urls: Callable[[], ModuleType], doors: int = 1
) -> Client:
    """Return a client of Django with `urls`, and with our middleware below one that may replace."""
    import django as framework
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="not secret", ALLOWED_HOSTS=["*"])
        framework.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    from prom_middleware.django import requests

    requests.template.cache_clear()
    entry = "prom_middleware.django.PrometheusMiddleware"
    overridden = override_settings(
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls(),
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", entry],
        PROM_MIDDLEWARE=dict(options),
    )
    with overridden:
        handler = _asgi_handler() if asynchronous else WSGIHandler()
        if doors == 2:
            handler = instrument(handler, **options)
        # To override anew tells everybody, who forget what they have found out: once is enough.
        wrapped = settings._wrapped
    client = asgi_client if asynchronous else wsgi_client

    def call(request: Request) -> Outcome:
        with patch.object(settings, "_wrapped", wrapped):
            return client(handler, request)

    return call


def _asgi_handler() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    class Handler(ASGIHandler):
        """Close the file that Django leaves to the garbage collector."""

        async def read_body(self, receive: Any) -> Any:
            self.file = await super().read_body(receive)
            return self.file

        async def __call__(self, *arguments: Any) -> None:
            try:
                await super().__call__(*arguments)
            finally:
                self.file.close()

    return Handler()


# --- Twisted


def twisted(options: Mapping[str, Any], doors: int) -> Client:
    from twisted.internet.task import Clock
    from twisted.web.resource import Resource
    from twisted.web.server import NOT_DONE_YET, Site

    class Item(Resource):
        isLeaf = True  # noqa: N815 - Twisted's own name

        def render_GET(self, request: Any) -> bytes:
            return b"item"

        def render_POST(self, request: Any) -> bytes:
            return b"item" + request.content.read()

    class Stream(Resource):
        def render_GET(self, request: Any) -> Any:
            request.setHeader(b"content-type", b"text/event-stream")
            request.write(b"data")
            request.finish()
            return NOT_DONE_YET

    class Left(Resource):
        def render_GET(self, request: Any) -> Any:
            request.write(b"data")
            return NOT_DONE_YET

    class Boom(Resource):
        def render_GET(self, request: Any) -> bytes:
            raise BOOM

    root = Resource()
    for one in (Stream, Left, Boom):
        root.putChild(one.__name__.lower().encode(), one())
    root.putChild(b"items", Item())
    site = Site(root, reactor=Clock())
    for _ in range(doors):
        site = instrument(site, **options)
    return partial(twisted_client, site)


def twisted_client(site: Any, request: Request) -> Outcome:
    from twisted.internet.address import IPv4Address
    from twisted.internet.error import ConnectionDone
    from twisted.internet.testing import StringTransport
    from twisted.python.failure import Failure

    peer = IPv4Address("TCP", "127.0.0.1", 1)
    transport = StringTransport(peerAddress=peer)
    protocol = site.buildProtocol(peer)
    query = b"?" + request.query.encode() if request.query else b""
    lines = [b"%s %s%s HTTP/1.1" % (request.method.encode(), request.path.encode(), query)]
    lines += [b"host: testserver", b"connection: close"]
    lines += [b"%s: %s" % pair for pair in request.headers]

    def serve() -> None:
        protocol.makeConnection(transport)
        protocol.dataReceived(b"\r\n".join([*lines, b"", b""]) + request.body)
        protocol.connectionLost(Failure(ConnectionDone()))

    error = caught(serve)
    answer = re.sub(rb"Date: [^\r]*\r\n", b"", transport.value(), flags=re.IGNORECASE)
    return Outcome([answer], error)


FASTAPI = ("plain", "labels", "excluder", "missing", "method", "head")
SCRAPES = [name for name, request in REQUESTS.items() if request.scrape]


class Place(NamedTuple):
    """What has to be installed, how the door is built, and what is asked of it, by name."""

    package: str
    build: Build
    names: set[str]
    requests: Mapping[str, Request] = REQUESTS


DOORS = {
    "asgi": Place("asyncio", asgi, HTTP - {"wrapped"} | WEBSOCKETS),
    "fastapi": Place("fastapi", fastapi, {*FASTAPI, *SCRAPES}),
    "starlette": Place("starlette", starlette, ROUTED | WEBSOCKETS),
    "wsgi": Place("wsgiref", wsgi, HTTP - {"method", "silent"}),
    "flask": Place("flask", flask, ROUTED),
    "django-wsgi": Place("django", partial(django, False), ROUTED),
    "django-asgi": Place("django", partial(django, True), ROUTED),
    "twisted": Place("twisted", twisted, ROUTED - {"late"}),
}


def installed(places: Mapping[str, Place]) -> dict[str, Place]:
    """Return those whose package is there."""
    return {name: place for name, place in places.items() if find_spec(place.package) is not None}


INSTALLED = installed(DOORS)


class Door:
    """One door, freshly built around the application, and its registry."""

    def __init__(self, place: Place, scenario: str) -> None:
        self.request = _now(place.requests[scenario])
        self.registry = CollectorRegistry()
        Counter("mine", "A metric of the user's own.", registry=self.registry).inc()
        options = {"registry": self.registry, **self.request.options}
        self.client: Client = place.build(options, self.request.doors)

    def ask(self) -> Outcome:
        return self.client(self.request)


def _now(request: Request) -> Request:
    headers = tuple((n, v.replace(b"%d", b"%.3f" % time())) for n, v in request.headers)
    return replace(request, headers=headers)
