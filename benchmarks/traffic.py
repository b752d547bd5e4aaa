"""The requests: one GET as a browser behind a proxy sends it, and the ways to serve it here."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

HEADERS = (
    (b"host", b"shop.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"application/json, text/plain;q=0.9, */*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.7,de;q=0.3"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"referer", b"https://shop.example.com/catalogue"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
)
BODY = b'{"id":"42","name":"A thing","price":1250,"in_stock":true}'
DATA = {"id": "42", "name": "A thing", "price": 1250, "in_stock": True}


def template(number: int, parameter: str = "{item_id}") -> str:
    """Return the template of a route, in the framework's own syntax for its parameter."""
    return f"/api/v1/resource{number}/{parameter}"


def path(routes: int) -> str:
    """Return the path that the last of so many routes serves."""
    return template(routes - 1, "42")


def scope(path: str) -> dict[str, Any]:
    """Return the ASGI scope of the request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"fields=all",
        "root_path": "",
        "headers": list(HEADERS),
        "client": ("127.0.0.1", 52114),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def environ(path: str) -> dict[str, Any]:
    """Return the WSGI environ of the request."""
    headers = {
        "HTTP_" + name.decode().upper().replace("-", "_"): value.decode() for name, value in HEADERS
    }
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "RAW_URI": f"{path}?fields=all",
        "QUERY_STRING": "fields=all",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "52114",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **headers,
    }


def raw(path: str) -> bytes:
    """Return the request as it comes over a connection."""
    lines = [f"GET {path}?fields=all HTTP/1.1".encode()]
    lines += [b"%s: %s" % (name.title(), value) for name, value in HEADERS]
    return b"\r\n".join((*lines, b"", b""))


def asgi(app: Any, path: str, loop: asyncio.AbstractEventLoop) -> Callable[[int], float]:
    """Return what drives an ASGI application."""
    pattern = scope(path)

    async def drive(number: int) -> float:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        start = process_time()
        for _ in range(number):
            sent.clear()
            await app(pattern.copy(), receiver(), send)
        seconds = process_time() - start
        assert sent[0]["status"] == 200, sent
        assert b"".join(message.get("body", b"") for message in sent[1:]) == BODY, sent
        return seconds

    return lambda number: loop.run_until_complete(drive(number))


def receiver() -> Callable[[], Any]:
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not messages:  # the client stays, so nothing more comes
            await asyncio.get_running_loop().create_future()
        return messages.pop()

    return receive


def wsgi(app: Any, path: str) -> Callable[[int], float]:
    """Return what drives a WSGI application."""
    pattern = environ(path)
    statuses = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        statuses.append(status)

    def drive(number: int) -> float:
        statuses.clear()
        pieces = []
        start = process_time()
        for _ in range(number):
            environ = pattern.copy()
            environ["wsgi.input"] = io.BytesIO()
            body = app(environ, start_response)
            pieces = list(body)
            if hasattr(body, "close"):
                body.close()
        seconds = process_time() - start
        assert statuses == ["200 OK"] * number, statuses
        assert b"".join(pieces).rstrip() == BODY, pieces
        return seconds

    return drive
