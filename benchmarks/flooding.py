"""100,000 new names a second: `python -m benchmarks.flooding udp|tcp PORT`, until its input ends.

Without a port they go to a socket of its own, so that a server can be measured beside a sender of
the same kind that does not send to it.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic

RATE, PART = 100_000, 1000  # names a second, and at a time
PACKED = 40  # names in a datagram, about as many as one can have in an Ethernet frame

Send = Callable[[list[bytes]], None]


def main() -> None:
    """Send."""
    kind, *ports = sys.argv[1:]
    send = SENDERS[kind](int(ports[0]) if ports else 0)
    print("begun", flush=True)
    start = monotonic()
    for number in count():
        begin = number * PART
        names = [b"flood.name.%d:1|c" % one for one in range(begin, begin + PART)]
        send(names)
        wait = start + (number + 1) * PART / RATE - monotonic()
        if select.select([sys.stdin], [], [], max(wait, 0))[0]:
            break


def _udp(port: int) -> Send:
    own = socket.socket(type=socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    to = ("127.0.0.1", port or own.getsockname()[1])

    def send(names: list[bytes]) -> None:
        for begin in range(0, len(names), PACKED):
            own.sendto(b"\n".join(names[begin : begin + PACKED]), to)

    return send


def _tcp(port: int) -> Send:
    connection = socket.create_connection(("127.0.0.1", port or _sink()))
    connection.setblocking(False)
    rest = b""

    def send(names: list[bytes]) -> None:
        nonlocal rest
        rest = rest or b"\n".join(names) + b"\n"
        with suppress(BlockingIOError):  # it does not read so fast
            rest = rest[connection.send(rest) :]

    return send


def _sink() -> int:
    server = socket.create_server(("127.0.0.1", 0))

    def read() -> None:
        connection, _ = server.accept()
        while connection.recv(1 << 20):
            pass

    threading.Thread(target=read, daemon=True).start()
    return int(server.getsockname()[1])


SENDERS: dict[str, Callable[[int], Send]] = {"udp": _udp, "tcp": _tcp}

if __name__ == "__main__":
    main()
