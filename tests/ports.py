"""Ports for servers that tests start: no two processes that run tests are given the same one.

Whoever asks the kernel for a free port and gives it back may see it handed to the next one who
asks, or to a connection. So each process has a block of ports for itself, below those that kernels
hand out: from 32768 on by Linux (ip_local_port_range), from 49152 on by others (RFC 6335, 6).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

SIZE = 100
BLOCKS = range(20_000, 32_000, SIZE)


def free_port() -> int:
    """Return a port that nobody listens on, which no other process that runs tests is given.

    One that was given is not given again before the rest of the block.
    """
    for port in islice(_block(os.getpid()), SIZE):
        if _is_free(port):
            return port
    raise AssertionError("each port of the block is in use")


@cache
def _block(_: int) -> Iterator[int]:
    """Take a block for this process: whoever has its first port has all of them."""
    for first in BLOCKS:
        holder = socket.socket()
        try:
            holder.bind(("", first))
        except OSError:
            holder.close()
        else:
            holder.detach()  # it stays open until the process ends
            return cycle(range(first + 1, first + SIZE))
    raise AssertionError("each block of ports is taken")


def _is_free(port: int) -> bool:
    """Tell whether a server could listen, be it for connections or for datagrams."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True
