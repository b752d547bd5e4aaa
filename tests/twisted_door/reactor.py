"""A real reactor in a thread of its own, sites on free ports, and a client that is not polite."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from twisted.internet import reactor, threads
from twisted.web.server import Site

TIMEOUT = 20.0


class Response(NamedTuple):
    """What came back on one connection, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


def start() -> threading.Thread:
    """Run the reactor, which a process can do only once."""
    running = threading.Event()
    reactor.callWhenRunning(running.set)
    run = partial(reactor.run, installSignalHandlers=False)
    thread = threading.Thread(target=run, name="reactor", daemon=True)
    thread.start()
    assert running.wait(TIMEOUT)
    return thread


def stop(thread: threading.Thread) -> None:
    reactor.callFromThread(reactor.stop)
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def in_reactor(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in the reactor's thread, and wait for what it returns."""
    return threads.blockingCallFromThread(reactor, function, *arguments)


@contextmanager
def serving(site: Site) -> Iterator[int]:
    """Serve `site` on a free port."""
    port = in_reactor(partial(reactor.listenTCP, 0, site, interface="127.0.0.1"))
    try:
        yield port.getHost().port
    finally:
        in_reactor(port.stopListening)


def connect(port: int, request: bytes = b"") -> socket.socket:
    """Return a connection on which `request` was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    connection.sendall(request)
    return connection


def request(
    line: str, headers: dict[str, str] | None = None, body: bytes = b"", close: bool = True
) -> bytes:
    """Return a request's bytes; `line` is a method and a path, and a version if not 1.1."""
    version = "" if "HTTP/" in line else " HTTP/1.1"
    fields = {"Host": "localhost", **(headers or {})}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    if close:
        fields["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{line}{version}\r\n{head}\r\n".encode("latin-1") + body


def read_all(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(partial(connection.recv, 65536), b""))


def parse(answer: bytes) -> Response:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return Response(int(first.split()[1]), {n.lower(): v for n, _, v in fields}, body)


def ask(port: int, line: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
    """Send one request on a connection of its own, and read the answer to its end."""
    return parse(read_all(connect(port, request(line, headers, body))))
