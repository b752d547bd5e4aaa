"""A body in a great many pieces takes no more memory than one in a single piece."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from prom_middleware.pushgateway import make_asgi_app
from prom_middleware.pushgateway.asgi import GatewayApp
from prom_middleware.pushgateway.server import GatewayServer

PIECES = 200_000
PIECE = b"##"


def to_the_application(app: GatewayApp) -> None:
    left = PIECES
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal left
        left -= 1
        body = bytes(bytearray(PIECE))  # one of its own, as a server's are
        return {"type": "http.request", "body": body, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/metrics/job/j", "headers": []}
    asyncio.run(app({**scope, "query_string": b""}, receive, send))
    assert sent[0]["status"] == 400, "there is no end of a line"


@contextmanager
def served(app: GatewayApp) -> Iterator[int]:
    server = GatewayServer(("127.0.0.1", 0), app.gateway)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def to_the_server(app: GatewayApp) -> None:
    head = b"PUT /metrics/job/j HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    with served(app) as port, socket.create_connection(("127.0.0.1", port), 60) as peer:
        peer.sendall(head)
        for _ in range(100):
            peer.sendall(chunk * (PIECES // 100))
        peer.sendall(b"0\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("push", [to_the_application, to_the_server])
def test_a_body_in_tiny_chunks(push: Callable[[GatewayApp], None]) -> None:
    app = make_asgi_app()
    tracemalloc.start()
    try:
        push(app)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * PIECES * len(PIECE)
