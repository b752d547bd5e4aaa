"""Floods into listeners beside a real application: memory, what is lost, and its requests."""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from metrics import value
from ports import free_port
from servers.support import Server, python, running
from waiting import becomes

pytest.importorskip("starlette")
pytestmark = [
    pytest.mark.real,
    pytest.mark.once,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells of memory"),
]

SAMPLES = {"statsd": b"%s:1|c", "graphite": b"%s 1 -1"}
SHOWN = {"statsd": "_total", "graphite": ""}
GIGABYTE, CHUNK = 1 << 30, bytes(1 << 20).replace(b"\0", b"x")
LONG = 60_000  # bytes of a datagram without a line feed
PACKED = 50  # names in a datagram
# Names. A connection waits until they are read, which takes its time; datagrams are dropped.
BY_UDP, BY_TCP = 200_000, 5_000


class Flooded:
    """The application, and the port on which it takes lines."""

    def __init__(self, server: Server, protocol: str, port: int) -> None:
        self.server, self.protocol, self.address = server, protocol, ("127.0.0.1", port)
        self.datagrams = socket.socket(type=socket.SOCK_DGRAM)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, 120)

    def lines(self, *names: bytes) -> bytes:
        return b"".join(SAMPLES[self.protocol] % name + b"\n" for name in names)

    def counts(self, *reasons: str) -> list[float]:
        """Return the samples taken, and what is lost for each reason, as one scrape shows them."""
        page, own = self.server.metrics(), f"prom_middleware_{self.protocol}_"
        lost = [value(page, own + "lost_total", {"reason": reason}) for reason in reasons]
        return [value(page, own + "samples_total"), *lost]

    def shows(self, name: str) -> bool:
        return bool(value(self.server.metrics(), name + SHOWN[self.protocol]))

    def peak(self) -> int:
        """Return the most bytes that the process has ever had in memory."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        (found,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(found) * 1024

    def mark(self) -> None:
        """Send one more datagram: with it the kernel tells of those that it dropped before."""
        self.datagrams.sendto(self.lines(*[b"mark"] * PACKED), self.address)
        self.marks += 1

    marks = 0


@contextmanager
def flooded(protocol: str) -> Iterator[Flooded]:
    port, lines = free_port(), free_port()
    program = Path(__file__).with_name("flooded.py")
    with running(python(str(program), str(port), protocol, str(lines)), port) as server:
        one = Flooded(server, protocol, lines)
        with one.datagrams:
            yield one


@pytest.mark.parametrize("protocol", SAMPLES)
def test_a_line_of_a_gigabyte_is_one_loss_and_no_memory(protocol: str) -> None:
    with flooded(protocol) as one, one.connect() as connection:
        before = one.peak()
        for _ in range(GIGABYTE // len(CHUNK)):
            connection.sendall(CHUNK)
        assert one.server.client.get("/").status_code == 200
        connection.sendall(b"\n" + one.lines(b"after"))
        assert becomes(lambda: one.shows("after"), True, 120.0), "the connection goes on"
        assert one.counts("line_too_long") == [1, 1]
        assert one.peak() - before < 16 << 20


def test_a_gigabyte_of_datagrams_that_are_too_long() -> None:
    with flooded("statsd") as one:
        before, number = one.peak(), GIGABYTE // LONG
        for _ in range(number):
            one.datagrams.sendto(CHUNK[:LONG], one.address)

        def rest() -> float:
            one.mark()
            taken, *lost = one.counts("line_too_long", "datagram_dropped")
            return number + one.marks - sum(lost) - taken / PACKED

        assert becomes(rest, 0, 120.0) == 0, "each is too long, or the kernel had no place for it"
        assert one.peak() - before < 16 << 20


def _datagrams(one: Flooded) -> None:
    for begin in range(0, BY_UDP, PACKED):
        names = [b"datagram.%d" % number for number in range(begin, begin + PACKED)]
        one.datagrams.sendto(one.lines(*names)[:-1], one.address)


def _stream(one: Flooded) -> None:
    with one.connect() as connection:
        for begin in range(0, BY_TCP, 1000):
            names = [b"stream.%d" % number for number in range(begin, begin + 1000)]
            connection.sendall(one.lines(*names))


@pytest.mark.parametrize("protocol", SAMPLES)
def test_an_application_answers_through_a_flood_of_names(protocol: str) -> None:
    with flooded(protocol) as one:
        one.mark()
        assert becomes(lambda: one.shows("mark"), True)
        before, asked = one.peak(), 0
        sending = [threading.Thread(target=send, args=[one]) for send in (_datagrams, _stream)]
        for sender in sending:
            sender.start()
        while any(sender.is_alive() for sender in sending) or asked < 100:
            answer = one.server.client.get("/")
            assert (answer.status_code, answer.text) == (200, "here")
            asked += 1
            sleep(0.02)
        assert value(one.server.metrics(), "http_requests_total", {"route": "/"}) == asked

        def rest() -> float:
            one.mark()
            taken, refused, dropped = one.counts("series_limit", "datagram_dropped")
            return BY_UDP + BY_TCP + PACKED * (one.marks - dropped) - taken - refused

        assert becomes(rest, 0, 120.0) == 0, "each is taken, refused, or the kernel dropped it"
        assert one.counts("series_limit")[1] >= BY_TCP - 1000
        assert one.peak() - before < 64 << 20
