"""Scrapes of an application in this process: no server, no port."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from prom_middleware.applications import is_asgi

Answer = tuple[int, bytes]


def scrape_app(app: Callable[..., Any], path: str, accept: str, timeout: float) -> Answer:
    """Return the status and the body that an ASGI or WSGI application answers to a GET.

    An ASGI application has `timeout` seconds for it, and then there is a TimeoutError.
    """
    if is_asgi(app):
        return asyncio.run(asyncio.wait_for(_asgi(app, path, accept), timeout))
    return _wsgi(app, path, accept)


def _wsgi(app: Callable[..., Any], path: str, accept: str) -> Answer:
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_ACCEPT": accept, "QUERY_STRING": ""}
    environ |= {"REMOTE_ADDR": "127.0.0.1", "wsgi.errors": io.StringIO()}
    setup_testing_defaults(environ)
    status: list[str] = []
    written: list[bytes] = []

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        status[:] = [line]
        return written.append

    body: Iterable[bytes] = app(environ, start_response)
    try:
        written.extend(body)
    finally:
        getattr(body, "close", lambda: None)()
    return int(status[0].split()[0]), b"".join(written)


async def _asgi(app: Callable[..., Any], path: str, accept: str) -> Answer:
    status: list[int] = []
    body: list[bytes] = []

    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.Event().wait()  # nobody leaves before the answer
        return requests.pop()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])
        elif message["type"] == "http.response.body":
            body.append(message.get("body", b""))

    await app(_scope(path, accept), receive, send)
    return status[0], b"".join(body)


def _scope(path: str, accept: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"accept", accept.encode())],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
    }
