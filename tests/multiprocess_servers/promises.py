"""A program that tells what is counted of responses that came to nothing, by method and status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client import REGISTRY

from metrics import collected
from prom_middleware.asgi import PrometheusMiddleware as ASGIDoor
from prom_middleware.wsgi import PrometheusMiddleware as WSGIDoor


class FileWrapper:
    """A server's own way to send a file."""

    def __init__(self, file: Any, size: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(8192), b"")


def whole(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"whole"]


def nothing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


def file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    opened: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: SIM115
    return opened


def raising_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    raise ValueError


def serve(app: Any, method: str) -> Iterable[bytes]:
    """Call an application as a server does, and return the body that is to be sent."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "wsgi.file_wrapper": FileWrapper}
    body: Iterable[bytes] = WSGIDoor(app)(environ, lambda *start: lambda data: None)
    return body


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_sending(body: Iterable[bytes]) -> None:
    for _ in body:
        die()


def in_a_worker(*work: Callable[[], object]) -> None:
    """Do it in a child that is killed at the latest when it is done."""
    pid = os.fork()
    if not pid:
        for each in work:
            each()
        die()
    os.waitpid(pid, 0)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def answer_or_apologize(scope: Any, receive: Any, send: Any) -> None:
    try:
        await answer(scope, receive, send)
    except ValueError:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})


async def gone(message: dict[str, Any]) -> None:
    raise OSError("the client is gone")


async def picky(message: dict[str, Any]) -> None:
    if message.get("status") == 200:
        raise ValueError("a header that cannot be sent")


async def receive() -> dict[str, Any]:
    return {"type": "http.request"}


def serve_asgi(app: Any, method: str, send: Any) -> None:
    scope = {"type": "http", "method": method, "path": "/", "headers": []}
    with suppress(OSError):
        asyncio.run(ASGIDoor(app)(scope, receive, send))


def main() -> None:
    in_a_worker(lambda: die_while_sending(serve(whole, "GET")))
    in_a_worker(
        lambda: list(serve(nothing, "OPTIONS")), lambda: die_while_sending(serve(whole, "OPTIONS"))
    )
    in_a_worker(lambda: serve(file, "DELETE"))
    with suppress(ValueError):
        list(serve(raising_late, "PUT"))
    serve_asgi(answer, "POST", gone)
    serve_asgi(answer_or_apologize, "PATCH", picky)
    for (name, labels), number in collected(REGISTRY).items():
        if name == "http_requests_total" and number:
            where = dict(labels)
            print(json.dumps([where["method"], where["status"], number]))


if __name__ == "__main__":
    main()
