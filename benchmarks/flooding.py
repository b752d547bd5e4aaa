"""100,000 new names a second: `python -m benchmarks.flooding KIND PORT`, until its input ends."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic

RATE, PART = 100_000, 1000  # names a second, and at a time
PACKED = 40  # names in a datagram, about as many as one can have in an Ethernet frame

Send = Callable[[list[bytes]], None]


def main() -> None:
    """Send."""
    kind, port = sys.argv[1:]
    send = SENDERS[kind](("127.0.0.1", int(port)))
    print("begun", flush=True)
    start = monotonic()
    for number in count():
        begin = number * PART
        names = [b"flood.name.%d:1|c" % one for one in range(begin, begin + PART)]
        send(names)
        wait = start + (number + 1) * PART / RATE - monotonic()
        if select.select([sys.stdin], [], [], max(wait, 0))[0]:
            break


def _udp(to: tuple[str, int]) -> Send:
    own = socket.socket(type=socket.SOCK_DGRAM)

    def send(names: list[bytes]) -> None:
        for begin in range(0, len(names), PACKED):
            own.sendto(b"\n".join(names[begin : begin + PACKED]), to)

    return send


def _tcp(to: tuple[str, int]) -> Send:
    connection = socket.create_connection(to)
    connection.setblocking(False)
    rest = b""

    def send(names: list[bytes]) -> None:
        nonlocal rest
        rest = rest or b"\n".join(names) + b"\n"
        with suppress(BlockingIOError):  # it does not read so fast
            rest = rest[connection.send(rest) :]

    return send


SENDERS: dict[str, Callable[[tuple[str, int]], Send]] = {"udp": _udp, "tcp": _tcp}

if __name__ == "__main__":
    main()
