"""The same small application behind every door, and what a server sees of it."""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper, setup_testing_defaults

from prom_middleware import basic_auth, instrument
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor

BOOM = ValueError("raised by the application")
FILE = b"of a file"
SECRET = (b"authorization", b"Basic dTpw")  # u:p


@dataclass(frozen=True)
class Request:
    """What a client asks for, and under which options the door was made."""

    path: str = "/items/3"
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    options: Mapping[str, Any] = field(default_factory=dict)
    doors: int = 1
    scrape: bool = False
    websocket: bool = False


class Outcome(NamedTuple):
    """What the server was told, in its own words, and the exception that came out."""

    told: list[Any]
    error: BaseException | None


Client = Callable[[Request], Outcome]
Build = Callable[[Mapping[str, Any], int], Client]


def failing(*_: object) -> bool:
    return False


ACCESS = {"access": basic_auth("u", "p")}
REQUESTS = {
    "plain": Request(headers=((b"x-request-start", b"t=1"),)),
    "queued": Request(headers=((b"x-request-start", b"%d"),)),
    "labels": Request(
        method="POST",
        headers=((b"content-length", b"4"), (b"content-type", b"text/plain")),
        body=b"body",
        options={"labels": {"site": "here", "host": lambda facts: facts.headers.get("host")}},
    ),
    "excluder": Request(options={"exclude": ["/x", re.compile("^/y"), failing]}),
    "missing": Request("/nowhere"),
    "method": Request(method="DELETE"),
    "head": Request(method="HEAD"),
    "stream": Request("/stream"),
    "file": Request("/file"),
    "odd": Request("/odd"),
    "silent": Request("/silent"),
    "error": Request("/boom"),
    "late": Request("/late"),
    "nested": Request(doors=2),
    "websocket": Request("/ws", websocket=True),
    "websocket-refused": Request("/refused", websocket=True),
    "websocket-error": Request("/wsboom", websocket=True),
    "scrape": Request("/metrics", headers=(SECRET,), options=ACCESS, scrape=True),
    "scrape-refused": Request("/metrics", options=ACCESS, scrape=True),
    "scrape-post": Request("/metrics", "POST", scrape=True),
}
HTTP = {name for name, request in REQUESTS.items() if not request.websocket}
ROUTED = HTTP - {"file", "odd", "silent"}
WEBSOCKETS = set(REQUESTS) - HTTP


# --- ASGI


def asgi_client(app: Any, request: Request) -> Outcome:
    told: list[Any] = []
    incoming = iter(_incoming(request))

    async def receive() -> Any:
        for message in incoming:
            return message
        return await asyncio.Event().wait()  # the client stays, and says nothing more

    async def send(message: Any) -> None:
        told.append(dict(message))

    scope = {
        "type": "websocket" if request.websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": b"name[]=mine_total" if request.scrape else b"",
        "headers": [(b"host", b"testserver"), *request.headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "subprotocols": [],
    }
    return Outcome(told, _caught(lambda: asyncio.run(app(scope, receive, send))))


def _incoming(request: Request) -> Iterator[dict[str, Any]]:
    if request.websocket:
        yield {"type": "websocket.connect"}
        yield {"type": "websocket.receive", "text": "one"}
        yield {"type": "websocket.disconnect", "code": 1000}
        return
    yield {"type": "http.request", "body": request.body, "more_body": False}


def _caught(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error
    finally:
        BOOM.__traceback__ = BOOM.__context__ = None  # frames would keep bodies from their end
    return None


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await ASGI_PLACES.get(scope["path"], _asgi_missing)(scope, receive, send)


async def _asgi_answer(send: Any, status: int, *pieces: bytes, kind: bytes = b"text/plain") -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _asgi_item(_: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await _asgi_answer(send, 200, b"item", message["body"])


async def _asgi_stream(_: Any, receive: Any, send: Any) -> None:
    await _asgi_answer(send, 200, b"data: 1\n\n", b"data: 2\n\n", kind=b"text/event-stream")


async def _asgi_missing(_: Any, receive: Any, send: Any) -> None:
    await _asgi_answer(send, 404, b"no")


async def _asgi_odd(_: Any, receive: Any, send: Any) -> None:
    await _asgi_answer(send, 799)


async def _asgi_boom(_: Any, receive: Any, send: Any) -> None:
    raise BOOM


async def _asgi_late(_: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    raise BOOM


async def _asgi_silent(_: Any, receive: Any, send: Any) -> None:
    await receive()


async def _asgi_file(_: Any, receive: Any, send: Any) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(FILE)
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send({**start, "trailers": True})
        # The descriptor differs from one run to the next, and what is compared is what was sent.
        told = _Descriptor(file.fileno())
        await send({"type": "http.response.zerocopysend", "file": told, "offset": 0})
        await send({"type": "http.response.trailers", "headers": []})


class _Descriptor:
    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descriptor)

    __hash__ = None  # type: ignore[assignment]


async def _asgi_websocket(_: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})
    await receive()


async def _asgi_refused(_: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"no"})


async def _asgi_websocket_boom(_: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    raise BOOM


ASGI_PLACES: dict[str, Any] = {
    "/items/3": _asgi_item,
    "/stream": _asgi_stream,
    "/file": _asgi_file,
    "/odd": _asgi_odd,
    "/silent": _asgi_silent,
    "/boom": _asgi_boom,
    "/late": _asgi_late,
    "/ws": _asgi_websocket,
    "/refused": _asgi_refused,
    "/wsboom": _asgi_websocket_boom,
}


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
            WebSocketRoute("/ws", place("/ws")),
            WebSocketRoute("/refused", place("/refused")),
            WebSocketRoute("/wsboom", place("/wsboom")),
        ]
    )
    return partial(asgi_client, instrument(app, **options))


# --- WSGI


def wsgi_client(app: Any, request: Request) -> Outcome:
    told: list[Any] = []
    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    environ.update({"REQUEST_METHOD": request.method, "PATH_INFO": request.path})
    environ.update({_environ_key(name): value.decode() for name, value in request.headers})
    environ["QUERY_STRING"] = "name[]=mine_total" if request.scrape else ""
    environ["wsgi.input"] = io.BytesIO(request.body)
    return Outcome(told, _caught(lambda: _serve(app, environ, told)))


def _environ_key(name: bytes) -> str:
    key = name.decode().upper().replace("-", "_")
    return key if key.startswith("CONTENT_") else f"HTTP_{key}"


def _serve(app: Any, environ: dict[str, Any], told: list[Any]) -> None:
    def start_response(status: str, headers: Any, *exc_info: Any) -> Callable[[bytes], object]:
        told.append((status, list(headers)))
        return told.append

    body: Iterable[bytes] = app(environ, start_response)
    try:
        for piece in body:
            told.append(piece)
    finally:
        getattr(body, "close", int)()


def wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    path, kind = environ["PATH_INFO"], "text/plain"
    if path == "/boom":
        raise BOOM
    if path == "/stream":
        kind = "text/event-stream"
    status = {"/items/3": "200 OK", "/nowhere": "404 Not Found", "/odd": "799 Odd"}
    headers = [("Content-Type", kind), ("Content-Length", "8")]
    write = start_response(status.get(path, "200 OK"), headers)
    if path == "/items/3":
        write(b"item")
        return [environ["wsgi.input"].read(4)]
    if path == "/file":
        return FileWrapper(io.BytesIO(FILE))
    return _pieces(path)


def _pieces(path: str) -> Iterator[bytes]:
    yield b"data"
    if path == "/late":
        raise BOOM
    yield b"more"


def wsgi(options: Mapping[str, Any], doors: int) -> Client:
    app: Any = wsgi_app
    for _ in range(doors):
        app = WSGIDoor(app, **options)
    return partial(wsgi_client, app)


def flask(options: Mapping[str, Any], doors: int) -> Client:
    from flask import Flask, Response, request

    app = Flask("failsafe")

    @app.route("/items/<int:number>", methods=["GET", "POST"])
    def item(number: int) -> bytes:
        return b"item" + request.get_data()

    @app.route("/stream")
    @app.route("/late")
    def stream() -> Response:
        return Response(_pieces(request.path), mimetype="text/event-stream")

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
        pieces = _pieces if "wsgi.input" in request.META else _async_pieces
        return StreamingHttpResponse(pieces(request.path), content_type="text/event-stream")

    def boom(_: Any) -> HttpResponse:
        raise BOOM

    urls = ModuleType("failsafe_urls")
    inner = [path("<int:number>", item)]
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("items/", include(inner)),
        path("stream", stream),
        path("late", stream),
        path("boom", boom),
    ]
    return urls


async def _async_pieces(path: str) -> Any:
    for piece in _pieces(path):
        yield piece


def django(asynchronous: bool, options: Mapping[str, Any], doors: int) -> Client:
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
        ROOT_URLCONF=_django_urls(),
        MIDDLEWARE=[entry],
        PROM_MIDDLEWARE=dict(options),
    )
    with overridden:
        handler = _asgi_handler() if asynchronous else WSGIHandler()
        if doors == 2:
            handler = instrument(handler, **options)
    client = asgi_client if asynchronous else wsgi_client

    def call(request: Request) -> Outcome:
        with overridden:
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
        isLeaf = True

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

    class Boom(Resource):
        def render_GET(self, request: Any) -> bytes:
            raise BOOM

    root = Resource()
    for name, resource in ((b"items", Item()), (b"stream", Stream()), (b"boom", Boom())):
        root.putChild(name, resource)
    site = Site(root, reactor=Clock())
    for _ in range(doors):
        site = instrument(site, **options)
    return partial(_twisted_client, site)


def _twisted_client(site: Any, request: Request) -> Outcome:
    from twisted.internet.address import IPv4Address
    from twisted.internet.error import ConnectionDone
    from twisted.internet.testing import StringTransport
    from twisted.python.failure import Failure

    transport = StringTransport()
    protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    query = b"?name[]=mine_total" if request.scrape else b""
    lines = [b"%s %s%s HTTP/1.1" % (request.method.encode(), request.path.encode(), query)]
    lines += [b"host: testserver", b"connection: close"]
    lines += [b"%s: %s" % pair for pair in request.headers]

    def serve() -> None:
        protocol.makeConnection(transport)
        protocol.dataReceived(b"\r\n".join([*lines, b"", b""]) + request.body)
        protocol.connectionLost(Failure(ConnectionDone()))

    error = _caught(serve)
    answer = re.sub(rb"Date: [^\r]*\r\n", b"", transport.value(), flags=re.IGNORECASE)
    return Outcome([answer], error)


DOORS: dict[str, tuple[str, Build, set[str]]] = {
    "asgi": ("asyncio", asgi, HTTP | WEBSOCKETS),
    "starlette": ("starlette", starlette, ROUTED | WEBSOCKETS),
    "wsgi": ("wsgiref", wsgi, HTTP - {"method", "silent"}),
    "flask": ("flask", flask, ROUTED),
    "django-wsgi": ("django", partial(django, False), ROUTED),
    "django-asgi": ("django", partial(django, True), ROUTED),
    "twisted": ("twisted", twisted, ROUTED - {"late"}),
}
INSTALLED = {name: door for name, door in DOORS.items() if find_spec(door[0]) is not None}
