"""The application without a framework, what clients ask of it, and what a server is told."""

from __future__ import annotations

import asyncio
import atexit
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from wsgiref.util import FileWrapper, setup_testing_defaults

from prom_middleware import allow_networks, basic_auth

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
    query: str = ""
    websocket: bool = False
    leaves: bool = False  # once the response has begun


class Outcome(NamedTuple):
    """What the server was told, in its own words, and the exception that came out."""

    told: list[Any]
    error: BaseException | None


def failing(*_: object) -> bool:
    return False


TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ACCESS = {"access": basic_auth("u", "p")}
REQUESTS = {
    "plain": Request(headers=((b"x-request-start", b"t=1"),)),
    "queued": Request(headers=((b"x-request-start", b"%d"),)),
    "traced": Request(headers=((b"traceparent", TRACEPARENT),)),
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
    "left": Request("/left", "HEAD", leaves=True),
    "stream": Request("/stream"),
    "file": Request("/file"),
    "wrapped": Request("/wrapped"),
    "odd": Request("/odd"),
    "silent": Request("/silent"),
    "error": Request("/boom"),
    "late": Request("/late"),
    "nested": Request(doors=2),
    "websocket": Request("/ws", websocket=True),
    "websocket-refused": Request("/refused", websocket=True),
    "websocket-error": Request("/wsboom", websocket=True),
    "scrape": Request(
        "/metrics", headers=(SECRET,), options=ACCESS, scrape=True, query="name[]=mine_total"
    ),
    "scrape-near": Request(
        "/metrics", options={"access": allow_networks("127.0.0.1")}, scrape=True
    ),
    "scrape-far": Request(
        "/metrics", options={"access": allow_networks("192.0.2.0/24")}, scrape=True
    ),
    "scrape-whole": Request("/metrics", scrape=True),
    "scrape-refused": Request("/metrics", options=ACCESS, scrape=True),
    "scrape-post": Request("/metrics", "POST", scrape=True),
}
HTTP = {name for name, request in REQUESTS.items() if not request.websocket}
ROUTED = HTTP - {"file", "wrapped", "odd", "silent"}
WEBSOCKETS = set(REQUESTS) - HTTP


def look(request: Mapping[str, Any]) -> object:
    """Look at a scope or an environ while the response is sent; a test may do more with it."""
    return request


# --- ASGI


def asgi_client(app: Any, request: Request) -> Outcome:
    told: list[Any] = []
    incoming = iter(_incoming(request))
    begun = asyncio.Event()

    async def receive() -> Any:
        for message in incoming:
            return message
        if request.leaves:
            await begun.wait()
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()  # the client stays, and says nothing more

    async def send(message: Any) -> None:
        told.append(dict(message))
        begun.set()
        look(scope)

    scope = {
        "type": "websocket" if request.websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": request.query.encode(),
        "headers": [*_host(request), *request.headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "subprotocols": [],
    }
    return Outcome(told, caught(lambda: _loop().run_until_complete(app(scope, receive, send))))


def _host(request: Request) -> Iterator[tuple[bytes, bytes]]:
    if not any(name == b"host" for name, _ in request.headers):
        yield b"host", b"testserver"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    # One for all requests: there are thousands of them, and to make it takes longer than to answer.
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def _incoming(request: Request) -> Iterator[dict[str, Any]]:
    if request.websocket:
        yield {"type": "websocket.connect"}
        yield {"type": "websocket.receive", "text": "one"}
        yield {"type": "websocket.disconnect", "code": 1000}
        return
    yield {"type": "http.request", "body": request.body, "more_body": False}


def caught(call: Callable[[], object]) -> BaseException | None:
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


async def _asgi_left(_: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        pass


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
        told = Descriptor(file.fileno())
        await send({"type": "http.response.zerocopysend", "file": told, "offset": 0})
        await send({"type": "http.response.trailers", "headers": []})


class Descriptor:
    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descriptor)

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
    "/left": _asgi_left,
    "/file": _asgi_file,
    "/odd": _asgi_odd,
    "/silent": _asgi_silent,
    "/boom": _asgi_boom,
    "/late": _asgi_late,
    "/ws": _asgi_websocket,
    "/refused": _asgi_refused,
    "/wsboom": _asgi_websocket_boom,
}


# --- WSGI


def wsgi_client(app: Any, request: Request) -> Outcome:
    told: list[Any] = []
    wrapper = (lambda file: file) if request.path == "/wrapped" else FileWrapper
    environ: dict[str, Any] = {"wsgi.file_wrapper": wrapper}
    setup_testing_defaults(environ)
    environ.update({"REQUEST_METHOD": request.method, "PATH_INFO": request.path})
    environ.update({_environ_key(name): value.decode("latin-1") for name, value in request.headers})
    environ["QUERY_STRING"], environ["REMOTE_ADDR"] = request.query, "127.0.0.1"
    environ["wsgi.input"] = io.BytesIO(request.body)
    return Outcome(told, caught(lambda: _serve(app, environ, told, request.leaves)))


def _environ_key(name: bytes) -> str:
    key = name.decode().upper().replace("-", "_")
    return key if key.startswith("CONTENT_") else f"HTTP_{key}"


def _serve(app: Any, environ: dict[str, Any], told: list[Any], leaves: bool) -> None:
    def start_response(status: str, headers: Any, *exc_info: Any) -> Callable[[bytes], object]:
        told.append((status, list(headers)))
        look(environ)
        return told.append

    body: Iterable[bytes] = app(environ, start_response)
    try:
        for piece in body:
            told.append(piece)
            look(environ)
            if leaves:
                break
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
    if path in ("/file", "/wrapped"):
        return environ["wsgi.file_wrapper"](io.BytesIO(FILE))  # type: ignore[no-any-return]
    return pieces(path)


def pieces(path: str) -> Iterator[bytes]:
    yield b"data"
    if path == "/late":
        raise BOOM
    yield b"more"
