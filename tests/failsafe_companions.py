"""What runs more rarely: odd bodies and routes, and doors within doors by way of adapters."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from failsafe_apps import REQUESTS, SECRET, Descriptor, Request, asgi_client, wsgi_client
from failsafe_doors import Client, Place, django_client, installed, twisted_client
from prom_middleware import instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor

Options = Mapping[str, Any]
BODY: dict[str, Any] = {
    "method": "POST",
    "headers": ((b"content-length", b"6"),),
    "body": b"ab\ncd\n",
}
HANDSHAKE = ((b"upgrade", b"websocket"), (b"sec-websocket-key", b"x"))


# --- ASGI


def files(options: Options, doors: int) -> Client:
    """Return one that hands its files to the server."""
    counted = {"/position": {}, "/count": {"count": 3}}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/path":
            await send({"type": "http.response.pathsend", "path": __file__})
            return
        with Path(__file__).open("rb") as file:
            told = {"type": "http.response.zerocopysend", "file": Descriptor(file.fileno())}
            await send(told | counted[scope["path"]])

    return partial(asgi_client, ASGIDoor(app, **options))


def routing(options: Options, doors: int) -> Client:
    """Return Starlette's other ways from a path to an endpoint."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Host, Mount, Route, Router

    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("page")

    async def unseen(scope: Any, receive: Any, send: Any) -> None:
        await below(scope, receive, send)

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("raw")(scope, receive, send)

    below = Starlette(routes=[Route("/c/{d}", page)])
    routes = [
        Host("api.example.org", Router([Route("/h/{x}", page)])),
        Mount("/plain", routes=[Route("/u/{a}", page, methods=["GET"])]),
        Mount("/unseen", unseen),
        Mount("/raw", raw),
        Route("/a/{b}", page),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(_Refusing)])
    return partial(asgi_client, instrument(app, **options))


class _Refusing:
    """What refuses some requests, and takes a prefix from a copy of others."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (b"x-refuse", b"1") not in scope.get("headers", ()):
            if scope.get("path", "").startswith("/v1/"):
                scope = {**scope, "path": scope["path"].removeprefix("/v1")}
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})


ROUTING = {
    "host": Request("/h/1", headers=((b"host", b"api.example.org"),)),
    "mounted": Request("/plain/u/1"),
    "mounted-method": Request("/plain/u/1", "POST"),
    "mounted-missing": Request("/plain/zzz"),
    "unseen": Request("/unseen/c/1"),
    "unseen-missing": Request("/unseen/zzz"),
    "raw": Request("/raw/x"),
    "repeated": Request("/a/1"),
    "refused": Request("/a/1", headers=((b"x-refuse", b"1"),)),
    "rewritten": Request("/v1/a/1"),
}


def included(options: Options, doors: int) -> Client:
    """Return a FastAPI whose router is included twice."""
    from fastapi import APIRouter, FastAPI

    app, router = FastAPI(), APIRouter(prefix="/v1")
    router.add_api_route("/x/{a}", lambda a: a)
    app.include_router(router)
    app.include_router(router, prefix="/v2")
    return partial(asgi_client, instrument(app, **options))


# --- WSGI


def bodies(options: Options, doors: int) -> Client:
    """Return one that answers with all kinds of bodies, and reads its own in all ways."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return PLACES[environ["PATH_INFO"]](environ, start_response)

    outer = app if doors == 1 else WSGIDoor(app)  # which has another registry
    return partial(wsgi_client, WSGIDoor(outer, **options))


class _Sequence:
    def __getitem__(self, index: int) -> bytes:
        return (b"a", b"b")[index]


def _again(_: Any, start_response: Any) -> list[bytes]:
    try:
        raise KeyError("page")
    except KeyError:
        start_response("500 Broken", [], sys.exc_info())
    return [b"broken"]


def _sought(stream: Any) -> Iterable[bytes]:
    return [stream.read(2), b"%d" % stream.seek(0), stream.read()]


def _reading(read: Callable[[Any], Iterable[bytes]]) -> Callable[[Any, Any], Iterable[bytes]]:
    return lambda environ, _: list(read(environ["wsgi.input"]))


PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "/list": lambda *_: [b"a"],
    "/tuple": lambda *_: (b"a", b"b"),
    "/bytes": lambda *_: b"",
    "/sequence": lambda *_: _Sequence(),
    "/iterator": lambda *_: iter([b"a"]),
    "/again": _again,
    "/lines": _reading(lambda stream: [stream.readline(), *stream.readlines()]),
    "/each": _reading(iter),
    "/next": _reading(lambda stream: [next(stream)]),
    "/sought": _reading(_sought),
    "/into": _reading(lambda stream: [b"%d" % stream.readinto(bytearray(3))]),
    "/socket": lambda *_: [b"answered"],
}
BODIES = {path[1:]: Request(path, **BODY) for path in PLACES}
BODIES["socket"] = Request("/socket", headers=HANDSHAKE)
BODIES["list-twice"] = Request("/list", doors=2)
BODIES["iterator-twice"] = Request("/iterator", doors=2)


def flask(options: Options, doors: int) -> Client:
    """Return a Flask application below a dispatcher, and its page as a blueprint."""
    from flask import Flask, Response, abort
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    from prom_middleware.flask import metrics_blueprint

    app = Flask("companion")

    @app.errorhandler(418)
    def broken(_: Exception) -> str:
        raise KeyError("handler")

    @app.route("/page/<int:number>")
    def page(number: int) -> str:
        return "page"

    app.add_url_rule("/abort", "abort", lambda: abort(410))
    app.add_url_rule("/broken", "broken", lambda: abort(418))

    def refusing(environ: Any, start_response: Any) -> Any:
        if "HTTP_X_REFUSE" not in environ:
            return inner(environ, start_response)
        return Response("no", 401)(environ, start_response)

    inner, app.wsgi_app = app.wsgi_app, refusing  # type: ignore[method-assign]
    app.register_blueprint(metrics_blueprint(options["registry"]))
    options = {**options, "metrics_path": None}
    mounts = {"/mounted": instrument(app, **options)}
    return partial(wsgi_client, WSGIDoor(DispatcherMiddleware(app, mounts), **options))


FLASK = {
    "abort": Request("/abort"),
    "broken-handler": Request("/broken"),
    "dispatched": Request("/mounted/page/3"),
    "dispatched-method": Request("/mounted/page/3", "DELETE"),
    "refused": Request("/page/3", headers=((b"x-refuse", b"1"),)),
    "scrape-blueprint": Request("/metrics", scrape=True),
}


# --- Django, Twisted


def django(asynchronous: bool, options: Options, doors: int) -> Client:
    return django_client(asynchronous, {**options, "metrics_path": None}, _django_urls)


def _django_urls() -> ModuleType:
    from django.http import FileResponse, HttpResponse
    from django.urls import include, path, re_path

    urls = ModuleType("companion_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("file/", lambda _: FileResponse(io.BytesIO(b"of a file"))),
        re_path(r"^number/(?P<number>\d+)/$", lambda _, number: HttpResponse(number)),
        path("inner/", include("prom_middleware.django.urls")),
    ]
    return urls


DJANGO = {
    "file": Request("/file/"),
    "file-head": Request("/file/", "HEAD"),
    "expression": Request("/number/1/"),
    "slash": Request("/file"),
    "scrape-view": Request("/inner/metrics", scrape=True),
}


def klein(options: Options, doors: int) -> Client:
    from klein import Klein
    from twisted.internet.task import Clock
    from twisted.web.server import Site

    app = Klein()

    @app.route("/hello/<name>", methods=["GET"])  # type: ignore[untyped-decorator]
    def hello(request: Any, name: str) -> bytes:
        return b"hello"

    return partial(twisted_client, instrument(Site(app.resource(), reactor=Clock()), **options))


def keeping(options: Options, doors: int) -> Client:
    """Return resources that keep the children that they make."""
    from twisted.internet.task import Clock
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Keeping(Resource):
        def getChild(self, path: bytes, request: Any) -> Resource:
            child = Resource()
            child.isLeaf = True
            child.render_GET = lambda request: b"kept"  # type: ignore[method-assign]
            self.putChild(path, child)
            return child

    root = Resource()
    root.putChild(b"kept", Keeping())
    return partial(twisted_client, instrument(Site(root, reactor=Clock()), **options))


KLEIN = {
    "rule": Request("/hello/you"),
    "rule-method": Request("/hello/you", "POST"),
    "rule-missing": Request("/nowhere"),
}


# --- one door within another


def wsgi_in_asgi(options: Options, doors: int) -> Client:
    from a2wsgi import WSGIMiddleware

    inner: Any = WSGIMiddleware(WSGIDoor(_wsgi_leaf, **options))
    return partial(asgi_client, ASGIDoor(inner, **options))


def asgi_in_wsgi(options: Options, doors: int) -> Client:
    from a2wsgi import ASGIMiddleware

    inner: Any = ASGIMiddleware(ASGIDoor(_asgi_leaf, **options))
    return partial(wsgi_client, WSGIDoor(inner, **options))


def _wsgi_leaf(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"leaf"


async def _asgi_leaf(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"leaf"})


NESTED = {"plain": REQUESTS["plain"], "scrape": Request("/metrics", headers=(SECRET,), scrape=True)}


def _place(package: str, build: Any, requests: Mapping[str, Request]) -> Place:
    return Place(package, build, set(requests), requests)


COMPANIONS = installed(
    {
        "asgi-files": _place(
            "asyncio", files, {p: Request(f"/{p}") for p in ("path", "position", "count")}
        ),
        "starlette-routing": _place("starlette", routing, ROUTING),
        "fastapi-included": _place("fastapi", included, {"second": Request("/v2/v1/x/3")}),
        "wsgi-bodies": _place("wsgiref", bodies, BODIES),
        "flask-dispatched": _place("flask", flask, FLASK),
        "django-wsgi-urls": _place("django", partial(django, False), DJANGO),
        "django-asgi-urls": _place("django", partial(django, True), DJANGO),
        "klein": _place("klein", klein, KLEIN),
        "twisted-keeping": _place("twisted", keeping, {"kept": Request("/kept/a%20b")}),
        "wsgi-in-asgi": _place("a2wsgi", wsgi_in_asgi, NESTED),
        "asgi-in-wsgi": _place("a2wsgi", asgi_in_wsgi, NESTED),
    }
)
