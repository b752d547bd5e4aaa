"""Gateways to push to: real ones, and servers that behave as bad ones do."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from selectors import EVENT_READ, DefaultSelector
from typing import Any, NamedTuple

from conftest import find_program
from metrics import Series
from ports import free_port
from servers.support import Server, running


def command_of(kind: str, port: int, *arguments: str) -> list[str]:
    """Return how to start a gateway: Debian's, or ours."""
    address = f"--web.listen-address=127.0.0.1:{port}"
    if kind == "debian":
        # Its package's default is a file in a folder of the system's.
        program = [find_program("prometheus-pushgateway", "prometheus-pushgateway")]
        return [*program, "--persistence.file=", address, *arguments]
    return [sys.executable, "-m", "prom_middleware", "pushgateway", address, *arguments]


@contextmanager
def real(kind: str, *arguments: str) -> Iterator[Server]:
    port = free_port()
    with running(command_of(kind, port, *arguments), port, "/-/ready") as server:
        yield server


def pushed(server: Server, job: str) -> Series:
    """Return what the gateway has of a job."""
    return {key: value for key, value in server.metrics().items() if ("job", job) in key[1]}


class Asked(NamedTuple):
    """A request that a `Scripted` server has got."""

    method: str
    path: str
    headers: Any
    body: bytes


class Scripted:
    """An HTTP server that gives the answers it was told, the last one for ever."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                scripted.asked.append(Asked(self.command, self.path, self.headers, body))
                status, headers, text = scripted.next()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_PUT = do_POST = do_DELETE = do_GET = answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def next(self) -> tuple[int, dict[str, str], bytes]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @property
    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]


@contextmanager
def scripted(*answers: int | tuple[int, dict[str, str], bytes]) -> Iterator[Scripted]:
    """Serve `answers`: a status, or a status, headers and a body."""
    whole = [(one, {}, b"") if isinstance(one, int) else one for one in answers]
    served = Scripted(*whole)
    thread = threading.Thread(target=served.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join(30)


@contextmanager
def listening(
    behave: Callable[[socket.socket, threading.Event], object],
) -> Iterator[tuple[str, Sequence[socket.socket]]]:
    """Accept connections and give each to `behave`, until the block's event is set."""
    ended, accepted = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):  # the client has left
                behave(connection, ended)

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                accepted.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", accepted
        finally:
            ended.set()
            for thread in threads:
                thread.join(30)


def silent(connection: socket.socket, ended: threading.Event) -> None:
    """Read, and never answer."""
    ended.wait(60)


def dripping(connection: socket.socket, ended: threading.Event) -> None:
    """Answer byte by byte, and never come to an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def slow_body(connection: socket.socket, ended: threading.Event) -> None:
    """Take the push, and never come to the end of the answer's body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def closing(connection: socket.socket, ended: threading.Event) -> None:
    """Close at once."""


def garbage(connection: socket.socket, ended: threading.Event) -> None:
    """Answer what is not HTTP."""
    connection.recv(65536)
    connection.sendall(b"\x00\xff garbage\r\n\r\n")


def tunnel(connection: socket.socket, ended: threading.Event) -> None:
    """Be a proxy: lead to the place that CONNECT names."""
    with connection.makefile("rb") as reader:
        asked, *_ = takewhile(lambda line: line != b"\r\n", reader)
    host, _, port = asked.split()[1].decode().rpartition(":")
    # A process of many tests has more descriptors open than `select` takes.
    with socket.create_connection((host, int(port))) as gateway, DefaultSelector() as selector:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for end, other in ((connection, gateway), (gateway, connection)):
            selector.register(end, EVENT_READ, (end, other))
        while not ended.is_set():
            for key, _ in selector.select(0.05):
                end, other = key.data
                data = end.recv(65536)
                if not data:
                    return
                other.sendall(data)
