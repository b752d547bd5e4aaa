"""The plaintext protocol, over a connection that is kept.

https://graphite.readthedocs.io/en/stable/feeding-carbon.html#the-plaintext-protocol
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from prometheus_client import Metric as MetricFamily
from prometheus_client.samples import Sample

from prom_middleware.bridge.outgoing.buffer import Batch
from prom_middleware.bridge.outgoing.collecting import parts
from prom_middleware.bridge.outgoing.paths import Form, Key, Paths, key_of
from prom_middleware.bridge.pace import Pace

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ

    HAS_QUEUE = True
except ImportError:  # Windows
    HAS_QUEUE = False

Address = tuple[str, int]
AT_ONCE = 20  # samples: some tenths of a millisecond
PAUSE = 0.005  # seconds between two looks at what the other side has acknowledged


class Graphite:
    """A server that takes lines of `path value time`."""

    def __init__(self, address: Address, form: Form, prefix: str = "") -> None:
        self.name = f"graphite://{address[0]}:{address[1]}"
        self.prefix = prefix
        self._paths = Paths(form)
        self._connection = Connection(address)

    @property
    def collisions(self) -> int:
        """How many series have a longer path because another one has theirs."""
        return self._paths.collisions

    def batch(self, families: Iterable[MetricFamily], now: float) -> Batch:
        """Return the lines of all samples, with their own times where they have one."""
        lines, sent, are_known = self._lines(families, now)
        if not are_known or len(lines) != len(self._paths):
            self._paths.settle(_key(sample) for family in sent for sample in _samples(family))
            lines, *_ = self._lines(sent, now)
        return Batch("".join(lines).encode(), len(lines))

    def _lines(
        self, families: Iterable[MetricFamily], now: float
    ) -> tuple[list[str], list[MetricFamily], bool]:
        """Return the lines of the series that have a path, the families, and whether all have one.

        What is kept of a sample is text, which the garbage collector need not look at: for many
        series, it would look at everything in the process each time. Families that cannot be sent
        are left out.
        """
        before, pace = f"{self.prefix}." if self.prefix else "", Pace()
        sent: list[MetricFamily] = []
        are_known = True

        def convert(family: MetricFamily) -> Iterator[str]:
            nonlocal are_known
            for number, sample in enumerate(_samples(family), 1):
                path, rest = self._paths.get(_key(sample)), _rest(sample, now)
                if path is None:
                    are_known = False
                else:
                    yield f"{before}{path} {rest}"
                if number % AT_ONCE == 0:
                    pace.pause()
            sent.append(family)

        return list(parts(families, convert)), sent, are_known

    def send(self, batch: Batch, timeout: float) -> None:
        """Send the lines; raise OSError."""
        self._connection.send(batch.content, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _samples(family: MetricFamily) -> Iterator[Sample]:
    """Yield what is a number."""
    return (one for one in family.samples if not getattr(one, "native_histogram", None))


def _key(sample: Sample) -> Key:
    return key_of(sample.name, (sample.labels or {}).items())


def _rest(sample: Sample, now: float) -> str:
    """Return what stands after the path."""
    time = now if sample.timestamp is None else float(sample.timestamp)
    return f"{float(sample.value)} {int(time)}\n"


class Connection:
    """A TCP connection that is opened when something is sent, and again when it has broken.

    What is written to a connection that the other side has left is lost without a word. So its
    kernel has to acknowledge all of it, and what was sent last is sent once more where the
    connection turns out to be reset: Graphite keeps one value for a path and a time.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._last = b""
        self._pid = os.getpid()

    def send(self, content: bytes, timeout: float) -> None:
        """Send all of it in `timeout` seconds; raise OSError, and have the connection closed."""
        deadline = time.monotonic() + timeout
        try:
            connection, again = self._opened(timeout)
            connection.settimeout(_left(deadline))
            connection.sendall(again + content)
            _acknowledged(connection, deadline)
        except OSError:
            self._leave()
            raise
        self._last = content

    def close(self) -> None:
        """Close it; what was sent last counts as arrived."""
        self._leave()
        self._last = b""

    def _leave(self) -> None:
        connection, self._socket = self._socket, None
        if connection is None:
            return
        if self._is_ours():  # the other end of a fork goes on with it
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes up a thread that is sending
        connection.close()

    def _is_ours(self) -> bool:
        return self._pid == os.getpid()

    def _opened(self, timeout: float) -> tuple[socket.socket, bytes]:
        """Return an open connection, and what has to be sent once more over it."""
        if not self._is_ours():
            self.close()
            self._pid = os.getpid()
        if self._socket is not None and self._is_whole(self._socket):
            return self._socket, b""
        self._leave()
        self._socket = socket.create_connection(self._address, timeout)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return self._socket, self._last

    def _is_whole(self, connection: socket.socket) -> bool:
        try:
            ended = _has_ended(connection)
        except OSError:
            return False
        if ended:  # in order: the other side has read everything
            self._last = b""
        return not ended


def _has_ended(connection: socket.socket) -> bool:
    """Tell whether the other side has closed it; raise OSError where it was reset."""
    connection.setblocking(False)
    ended = False
    with suppress(BlockingIOError):
        ended = not connection.recv(65536)  # a server that talks is not listened to
    reset = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if reset:  # an end that came before it would hide it
        raise OSError(reset, os.strerror(reset))
    return ended


def _acknowledged(connection: socket.socket, deadline: float) -> None:
    """Wait until the other side's kernel has all that was sent; raise OSError."""
    if not HAS_QUEUE:
        return
    while int.from_bytes(ioctl(connection, TIOCOUTQ, bytes(4)), sys.byteorder):
        _has_ended(connection)
        time.sleep(min(PAUSE, _left(deadline)))
    _has_ended(connection)  # a reset empties the queue as well


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out: the other side does not read")
    return left
