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
from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from failsafe_apps import Request, asgi_client, wsgi_client
from failsafe_doors import Client, django_client, twisted_client
from garbage import no_collection
from injection import is_ours, profiling
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
    def urls() -> ModuleType:
        from django.http import HttpResponse
        from django.urls import path

        def item(_: Any, key: str) -> HttpResponse:
            return HttpResponse(b"item")

        async def async_item(_: Any, key: str) -> HttpResponse:
            return HttpResponse(b"item")

        found, view = ModuleType("flat_urls"), async_item if asynchronous else item
        patterns = [path(f"r{n}/<key>", view) for n in range(routes)]
        found.urlpatterns = patterns  # type: ignore[attr-defined]
        return found

    return django_client(asynchronous, {"registry": registry}, urls)


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


class Door(NamedTuple):
    """What has to be installed, how the client of an application is made, what its places are."""

    package: str
    client: Callable[[int, CollectorRegistry], Client]
    place: str


DOORS = {
    "starlette": Door("starlette", starlette, "{key}"),
    "fastapi": Door("fastapi", fastapi, "{key}"),
    "flask": Door("flask", flask, "<key>"),
    "django-wsgi": Door("django", partial(django, False), "<key>"),
    "django-asgi": Door("django", partial(django, True), "<key>"),
    "twisted": Door("twisted", twisted, "{path}"),
    "klein": Door("klein", klein, "<key>"),
}
INSTALLED = [name for name, door in DOORS.items() if find_spec(door.package) is not None]


@contextmanager
def tracing(trace: Callable[[FrameType, str, object], Any]) -> Iterator[None]:
    before = sys.gettrace()  # coverage's
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


class Work(Counter[str]):
    """The lines that our functions go through, and what they call that is not ours.

    A line that repeats itself, as one of a comprehension does, counts each time.
    """

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not is_ours(frame.f_code):
            return None
        if event == "line":
            self[f"lines of {frame.f_code.co_name}"] += 1
        return self.trace

    def profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            self._call(frame, called.__qualname__)
        elif event == "call" and not is_ours(frame.f_code):
            self._call(frame.f_back, frame.f_code.co_name)

    def _call(self, caller: FrameType | None, called: str) -> None:
        if caller is not None and is_ours(caller.f_code):
            self[f"{caller.f_code.co_name} calls {called}"] += 1


def work(door: Door, routes: int) -> Work:
    """Return what is done for a request to the last of the routes, once some have had requests."""
    registry = CollectorRegistry()
    client = door.client(routes, registry)
    for n in (*range(0, routes - 1, 10), routes - 1, routes - 1):
        assert client(Request(f"/r{n}/3")).error is None
    done = Work()
    with no_collection(), tracing(done.trace), profiling(done.profile):
        client(Request(f"/r{routes - 1}/3"))
    labels = {"method": "GET", "route": f"/r{routes - 1}/{door.place}", "status": "200"}
    assert value(collected(registry), "http_requests_total", labels) == 3
    return done


@pytest.mark.interpreted
@pytest.mark.parametrize("door", INSTALLED)
def test_the_work_is_the_same_with_many_routes(door: str) -> None:
    few = work(DOORS[door], FEW)
    assert sum(few.values()) > 50
    assert work(DOORS[door], MANY) == few
