"""Requests at a fixed rate, whatever the server does, and scrapes from another process."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter

from benchmarks import traffic

REQUEST = traffic.raw(traffic.path(1))
RATE = 200  # requests a second
MOST = 400  # connections: more than a stall of a second needs
PATIENCE = 30.0  # seconds for the last answers


class Load:
    """Requests that are sent when they are due, answered or not, over connections that stay."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._waiting: deque[float] = deque()

    async def run(self, port: int, seconds: float) -> None:
        """Send all requests, and return when all are answered."""
        loop = asyncio.get_running_loop()
        number, start = int(seconds * RATE), loop.time()
        for turn in range(number):
            await asyncio.sleep(start + turn / RATE - loop.time())
            # A server that stands still has new requests to wait for it, as from new clients.
            if not self._idle and len(self._connections) < MOST:
                _, connection = await loop.create_connection(
                    lambda: Connection(self), "127.0.0.1", port
                )
                self._connections.append(connection)
                self._idle.append(connection)
            self._send(perf_counter())
        deadline = loop.time() + PATIENCE
        while len(self.latencies) < number and loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in self._connections:
            connection.transport.close()
        assert len(self.latencies) == number, (len(self.latencies), number)

    def _send(self, due: float) -> None:
        if self._idle:
            self._idle.pop().ask(due)
        else:
            self._waiting.append(due)

    def answered(self, connection: Connection, seconds: float) -> None:
        """Note a latency, and give the connection the request that has waited longest."""
        self.latencies.append(seconds)
        self._idle.append(connection)
        if self._waiting:
            self._send(self._waiting.popleft())


class Connection(asyncio.Protocol):
    """A connection that stays; one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._due = 0.0
        self._got = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, due: float) -> None:
        """Send the request, whose time counts from when it was due."""
        self._due = due
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """Take the time when the answer is whole."""
        self._got += data
        if self._got.endswith(traffic.BODY):
            assert self._got.startswith(b"HTTP/1.1 200"), self._got
            self._got = b""
            self._load.answered(self, perf_counter() - self._due)


def requests(port: int, seconds: float) -> list[float]:
    """Return the seconds that each request took, in no order."""
    load = Load()
    asyncio.run(load.run(port, seconds))
    return load.latencies


# What Prometheus 3 sends.
HEADERS = {
    "plain": "Accept: text/plain;version=0.0.4\r\n",
    "gzip": "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,"
    "*/*;q=0.2\r\nAccept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n",
}


def get(port: int, path: str, headers: str = "") -> bytes:
    """Return the body of an answer, as it was sent, from a connection of its own."""
    request = f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        pieces = []
        while piece := connection.recv(1 << 20):
            pieces.append(piece)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return body


@contextmanager
def scrapes(port: int, how: str) -> Iterator[list[dict[str, float]]]:
    """Scrape once a second, in another process; at the end the list has what each one was."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    found: list[dict[str, float]] = []
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        process.stdout.readline()  # the first one is about to be sent
        try:
            yield found
        finally:
            said, _ = process.communicate(timeout=120)
        found += json.loads(said)


def main() -> None:
    """Scrape until standard input ends."""
    port, headers, found = int(sys.argv[1]), HEADERS[sys.argv[2]], []
    print("begun", flush=True)
    due = monotonic()
    while True:
        start = perf_counter()
        size = len(get(port, "/metrics", headers))
        found.append({"seconds": perf_counter() - start, "bytes": size})
        due = max(due + 1, monotonic())
        if select.select([sys.stdin], [], [], max(due - monotonic(), 0))[0]:
            break
    print(json.dumps(found))


if __name__ == "__main__":
    main()
