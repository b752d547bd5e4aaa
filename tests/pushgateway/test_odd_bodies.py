"""Bodies that come in a great many pieces, slowly, or not at all."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from time import sleep
from typing import Any

import pytest

from prom_middleware.pushgateway import make_asgi_app, server
from prom_middleware.pushgateway.asgi import GatewayApp
from pushgateway.gateways import Client, served

PIECES = 50_000
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


def to_the_server(app: GatewayApp) -> None:
    head = b"PUT /metrics/job/j HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    with served(app) as serving, socket.create_connection(serving.server_address, 60) as peer:
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Serve with half a second for a request, and the fiftieth part of one more for each byte."""
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    monkeypatch.setattr(server, "SLOWEST", 50)
    with served(make_asgi_app()) as serving:
        yield serving.server_address[1]


HEAD = b"PUT /metrics/job/slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def test_who_says_how_much_and_sends_nothing_is_let_go(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient), 60) as peer:
        peer.sendall(HEAD % 10_000_000)  # it would have two days for them
        assert peer.recv(1000) == b""


PUT = b"PUT /metrics/job/slow HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
LINE = b"A: %b\r\n" % (b"a" * 900)


@pytest.mark.parametrize("begun", [PUT, CHUNKED], ids=["head", "trailers"])
def test_only_a_body_gives_more_time(impatient: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient), 60) as peer:
        peer.sendall(begun + LINE)
        sleep(0.2)  # what comes with the beginning is read with that
        peer.sendall(LINE * 20)  # for as much of a body it would have six minutes
        assert peer.recv(1000) == b""


def test_who_waits_to_be_asked_for_the_body_is_asked() -> None:
    with (
        served(make_asgi_app()) as serving,
        socket.create_connection(serving.server_address, 60) as peer,
    ):
        peer.sendall(PUT + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert peer.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"a 1\n")
        assert peer.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "header",
    [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nContent-Length: 4", b"nonsense"],
)
def test_who_sends_what_is_not_read_is_not_asked_for_it(header: bytes) -> None:
    with (
        served(make_asgi_app()) as serving,
        socket.create_connection(serving.server_address, 60) as peer,
    ):
        peer.sendall(PUT[:-2] + b"\r\n" + header + b"\r\nExpect: 100-continue\r\n\r\n")
        assert peer.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_who_sends_has_more_time(impatient: int) -> None:
    line = b"# %b\n" % (b"a" * 500)
    with socket.create_connection(("127.0.0.1", impatient), 60) as peer:
        peer.sendall(HEAD % (len(line) * 5))
        for _ in range(5):
            sleep(0.3)
            peer.sendall(line)
        assert peer.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_who_sends_too_much_is_read_on_until_it_sees_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 3600.0)
    size = server.LINGER_BYTES // 2
    with (
        served(make_asgi_app(max_body_bytes=1000)) as serving,
        socket.create_connection(serving.server_address, 60) as peer,
    ):
        # With so little room, nobody has sent it all whom the server does not read.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        peer.sendall(HEAD % size + b"#" * size)
        assert peer.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("body", "connection"), [("", None), ("a 1\n", "close")])
def test_a_refusal_ends_the_connection_only_where_a_body_is_left_unread(
    body: str, connection: str | None
) -> None:
    app = make_asgi_app(access=lambda request: False)
    with served(app) as serving, Client(serving.server_address[1]) as client:
        reply = client("PUT", "/metrics/job/j", body)
    assert (reply.status, reply.headers.get("connection")) == (403, connection)
