"""With 500 routes, the same work is done for a request as with one, line for line.

How long that takes is for `make bench` to say; what the application has left in the processor's
caches has a part in that.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from types import FrameType, ModuleType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from failsafe_apps import Request, asgi_client, wsgi_client
from failsafe_doors import Client, twisted_client
from injection import PACKAGE
from metrics import collected, value
from prom_middleware import instrument

FEW, MANY = 1, 500


def starlette(routes: int, registry: CollectorRegistry) -> Client:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def endpoint() -> Any:
        async def item(_: Any) -> PlainTextResponse:
            return PlainTextResponse("item")

        return item

    app = Starlette(routes=[Route(f"/r{n}/{{key}}", endpoint()) for n in range(routes)])
    return partial(asgi_client, instrument(app, registry=registry))


def fastapi(routes: int, registry: CollectorRegistry) -> Client:
    from fastapi import FastAPI

    def endpoint() -> Any:
        async def item(key: str) -> str:
            return "item"

        return item

    app = FastAPI()
    for n in range(routes):
        app.get(f"/r{n}/{{key}}")(endpoint())
    return partial(asgi_client, instrument(app, registry=registry))


def flask(routes: int, registry: CollectorRegistry) -> Client:
    from flask import Flask

    app = Flask("flat")
    for n in range(routes):
        app.add_url_rule(f"/r{n}/<key>", f"item{n}", lambda key: "item")
    return partial(wsgi_client, instrument(app, registry=registry))


def django(asynchronous: bool, routes: int, registry: CollectorRegistry) -> Client:
    import django as framework
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="not secret", ALLOWED_HOSTS=["*"])
        framework.setup()
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse
    from django.test import override_settings
    from django.urls import path

    def item(_: Any, key: str) -> HttpResponse:
        return HttpResponse(b"item")

    async def async_item(_: Any, key: str) -> HttpResponse:
        return HttpResponse(b"item")

    urls, view = ModuleType("flat_urls"), async_item if asynchronous else item
    urls.urlpatterns = [path(f"r{n}/<key>", view) for n in range(routes)]  # type: ignore[attr-defined]
    changed = override_settings(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls,
        MIDDLEWARE=["prom_middleware.django.PrometheusMiddleware"],
        PROM_MIDDLEWARE={"registry": registry},
    )
    with changed:
        handler = ASGIHandler() if asynchronous else WSGIHandler()
    client = asgi_client if asynchronous else wsgi_client

    def call(request: Request) -> Any:
        with changed:
            return client(handler, request)

    return call


def twisted(routes: int, registry: CollectorRegistry) -> Client:
    from twisted.internet.task import Clock
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Item(Resource):
        isLeaf = True  # noqa: N815 - Twisted's own name

        def render_GET(self, request: Any) -> bytes:
            return b"item"

    root = Resource()
    for n in range(routes):
        root.putChild(b"r%d" % n, Item())
    return partial(twisted_client, instrument(Site(root, reactor=Clock()), registry=registry))


def klein(routes: int, registry: CollectorRegistry) -> Client:
    from klein import Klein
    from twisted.internet.task import Clock
    from twisted.web.server import Site

    app = Klein()
    for n in range(routes):
        app.route(f"/r{n}/<key>", endpoint=f"item{n}")(lambda request, key: b"item")
    site = Site(app.resource(), reactor=Clock())
    return partial(twisted_client, instrument(site, registry=registry))


DOORS: dict[str, tuple[str, Callable[[int, CollectorRegistry], Client]]] = {
    "starlette": ("starlette", starlette),
    "fastapi": ("fastapi", fastapi),
    "flask": ("flask", flask),
    "django-wsgi": ("django", partial(django, False)),
    "django-asgi": ("django", partial(django, True)),
    "twisted": ("twisted", twisted),
    "klein": ("klein", klein),
}
INSTALLED = [name for name, door in DOORS.items() if find_spec(door[0]) is not None]


@contextmanager
def counting(done: Counter[str]) -> Iterator[None]:
    """Count the lines that our functions go through, and what they call that is not ours.

    A line that repeats itself, as one of a comprehension does, counts each time.
    """

    def ours(frame: FrameType | None) -> bool:
        return frame is not None and frame.f_code.co_filename.startswith(str(PACKAGE))

    def enter(frame: FrameType, event: str, _: object) -> Any:
        return step if ours(frame) else None

    def step(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            done[f"lines of {frame.f_code.co_name}"] += 1
        return step

    def call(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and ours(frame):
            done[f"{frame.f_code.co_name} calls {called.__qualname__}"] += 1
        elif event == "call" and not ours(frame) and ours(frame.f_back):
            done[f"{frame.f_back.f_code.co_name} calls {frame.f_code.co_name}"] += 1  # type: ignore[union-attr]

    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(enter)
    sys.setprofile(call)
    try:
        yield
    finally:
        sys.setprofile(profile)
        sys.settrace(trace)


def work(door: str, routes: int) -> Counter[str]:
    """Return what is done for a request to the last of the routes, once some have had requests."""
    registry = CollectorRegistry()
    client = DOORS[door][1](routes, registry)
    for n in (*range(0, routes - 1, 10), routes - 1, routes - 1):
        assert client(Request(f"/r{n}/3")).error is None
    done: Counter[str] = Counter()
    with counting(done):
        client(Request(f"/r{routes - 1}/3"))
    key = {"starlette": "{key}", "fastapi": "{key}", "twisted": "{path}"}.get(door, "<key>")
    labels = {"method": "GET", "route": f"/r{routes - 1}/{key}", "status": "200"}
    assert value(collected(registry), "http_requests_total", labels) == 3
    return done


@pytest.mark.interpreted
@pytest.mark.parametrize("door", INSTALLED)
def test_the_work_is_the_same_with_many_routes(door: str) -> None:
    few = work(door, FEW)
    assert sum(few.values()) > 50
    assert work(door, MANY) == few
