"""What pushes cost: `python -m benchmarks.pushgateway PART`, figures as JSON.

Our `pushgateway` command and Debian's `prometheus-pushgateway` run side by side, each with a file
to keep groups in, and get the same bytes in turns over one connection that stays open. Where the
original is missing, there are no figures.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from benchmarks import parts
from benchmarks.figures import Figure

BODY = b"""\
# TYPE rows gauge
rows 12
# TYPE duration_seconds gauge
duration_seconds 1.25
last_success_unixtime 1.7e9
"""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    series: int = 100_000
    rounds: int = 15
    pushes: int = 400  # of one round


SMALL = Size(1_000, 2, 10)
Figures = dict[str, Any]
Gateways = dict[str, "Peer"]


class Peer:
    """A gateway, and a connection to it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request and return the whole answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head_bytes, _, rest = answer.partition(b"\r\n\r\n")
        if not head_bytes.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(answer.decode(errors="replace"))
        return self._rest(head_bytes.lower(), rest)

    def _rest(self, head: bytes, rest: bytes) -> bytes:
        parts, size = [rest], len(rest)
        chunked = b"transfer-encoding: chunked" in head
        length = 0 if chunked else int(head.partition(b"content-length:")[2].split()[0])
        # The ends of chunks are not taken away: what is compared is time.
        while (not parts[-1].endswith(b"\r\n0\r\n\r\n")) if chunked else size < length:
            parts.append(self._received())
            size += len(parts[-1])
        return b"".join(parts)

    def _received(self) -> bytes:
        part = self._socket.recv(1 << 20)
        if not part:
            raise ConnectionError("the gateway has closed the connection")
        return part

    def close(self) -> None:
        self._socket.close()


def main() -> None:
    """Measure one part, and print the figures."""
    options = parts.options("pushgateway", "part", PARTS)
    size = SMALL if options.quick else Size()
    original = shutil.which("prometheus-pushgateway")
    if original is None:
        json.dump({}, sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder, both(original, Path(folder)) as gateways:
        json.dump({"size": asdict(size), **PARTS[options.part](gateways, size)}, sys.stdout)


@contextmanager
def both(original: str, folder: Path) -> Iterator[Gateways]:
    """Start both gateways."""
    commands = {
        "ours": [sys.executable, "-m", "prom_middleware", "pushgateway"],
        "theirs": [original],
    }
    ports = {name: free_port() for name in commands}
    processes = [
        subprocess.Popen(
            [
                *command,
                f"--web.listen-address=127.0.0.1:{ports[name]}",
                f"--persistence.file={folder / name}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, command in commands.items()
    ]
    try:
        gateways = {name: connected(port) for name, port in ports.items()}
        yield gateways
        for gateway in gateways.values():
            gateway.close()
    finally:
        for process in processes:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def connected(port: int) -> Peer:
    deadline = perf_counter() + 30
    while True:
        try:
            return Peer(port)
        except OSError:
            if perf_counter() > deadline:
                raise
            sleep(0.05)


def pushes(gateways: Gateways, size: Size) -> Figures:
    """Push a small group again and again."""

    def push(gateway: Peer) -> float:
        start = perf_counter()
        for _ in range(size.pushes):
            gateway.ask("PUT", "/metrics/job/nightly", BODY)
        return (perf_counter() - start) / size.pushes

    return {"small": in_turns(gateways, size, push)}


def stored(gateways: Gateways, size: Size) -> Figures:
    """Push one sample, and scrape, where so many series are stored."""
    lines = (f'big{{i="{one}",x="some_value_{one % 100}"}} {one}\n' for one in range(size.series))
    body = "".join(lines).encode()
    for gateway in gateways.values():
        gateway.ask("PUT", "/metrics/job/big", body)
    return {
        "one": in_turns(gateways, size, timed("PUT", "/metrics/job/one", b"one 1\n")),
        "scrape": in_turns(gateways, size, timed("GET", "/metrics")),
        "all": in_turns(gateways, size, timed("PUT", "/metrics/job/big", body)),
    }


def timed(method: str, path: str, body: bytes = b"") -> Callable[[Peer], float]:
    """Return what measures one request, after one that is not timed."""

    def measure(gateway: Peer) -> float:
        gateway.ask(method, path, body)
        start = perf_counter()
        gateway.ask(method, path, body)
        return perf_counter() - start

    return measure


def in_turns(gateways: Gateways, size: Size, measure: Callable[[Peer], float]) -> Figures:
    """Return the figures of both, measured one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in gateways}
    for _ in range(size.rounds):
        for name, gateway in gateways.items():
            seconds[name].append(measure(gateway))
    return {name: asdict(Figure.of(values)) for name, values in seconds.items()}


PARTS: dict[str, Callable[[Gateways, Size], Figures]] = {"pushes": pushes, "stored": stored}


if __name__ == "__main__":
    main()
