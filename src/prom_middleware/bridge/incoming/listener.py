"""Sockets that listen: one thread for all datagrams and connections.

Memory is bounded by the number of connections and the length of a line, time by a `Pace`: a flood
leaves the interpreter to the application. What then comes too fast waits in a sender's connection;
of datagrams the kernel drops what it has no place for, and says how many.
"""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from prom_middleware import failures
from prom_middleware.bridge.incoming.lines import Lines
from prom_middleware.bridge.pace import Pace
from prom_middleware.forks import close_in_child

Address = tuple[str, int]
LONGEST_LINE = 8192  # bytes
MOST_CONNECTIONS = 200
CHUNK = 65536  # bytes at a time; no datagram is longer
LINES = 8  # at a time: about a tenth of a millisecond
AHEAD = 50  # lines of datagrams to read first: the kernel has place for few datagrams
LAST_READING = 1.0  # seconds, when it is to end
AFTER_FAILURE = 0.1  # seconds until the next connection is accepted
BACKLOG = 128
ANCILLARY = 64  # bytes: a number with its header
# Linux counts what it drops of a socket (SO_RXQ_OVFL of asm-generic/socket.h).
_DROPPED = 40 if sys.platform == "linux" else None


class Listener:
    """Hands lines to `receive`, and what is lost to `lose(reason, number)`, from its own thread.

    `receive` returns how much of them it refused: where that is most, the thread rests longer.
    `udp` and `tcp` are (host, port), where port 0 is any free one. Raises OSError where it cannot
    listen.
    """

    def __init__(
        self,
        receive: Callable[[list[bytes]], int],
        lose: Callable[[str, int], None],
        *,
        udp: Address | None = None,
        tcp: Address | None = None,
        longest_line: int = LONGEST_LINE,
        connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._receive = receive
        self._lose = lose
        self._longest_line = longest_line
        self._limit = connections
        self._selector = selectors.DefaultSelector()
        self._open: list[socket.socket] = []
        # The one that was silent longest is the first.
        self._connections: OrderedDict[socket.socket, Lines] = OrderedDict()
        self._dropped = 0
        self._pace = Pace()
        self._stopping = False
        self.udp: Address | None = None
        self.tcp: Address | None = None
        try:
            if udp is not None:
                self.udp = self._listen(udp, socket.SOCK_DGRAM, self._datagrams)
            if tcp is not None:
                self.tcp = self._listen(tcp, socket.SOCK_STREAM, self._accept)
            self._wake, woken = socket.socketpair()
            self._open += (self._wake, woken)
            self._selector.register(woken, selectors.EVENT_READ, lambda woken: woken.recv(1))
        except OSError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="bridge listener", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Close all sockets; what has come in is read first, for a second at most."""
        self._stopping = True
        with suppress(OSError):
            self._wake.send(b"\0")
        self._thread.join(timeout)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _listen(
        self, address: Address, kind: int, ready: Callable[[socket.socket], None]
    ) -> Address:
        family, _, _, _, where = socket.getaddrinfo(*address, type=kind, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind)
        self._open.append(listening)
        close_in_child(listening)
        if kind == socket.SOCK_STREAM:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        if kind == socket.SOCK_STREAM:
            listening.listen(BACKLOG)
        elif _DROPPED is not None:
            listening.setsockopt(socket.SOL_SOCKET, _DROPPED, 1)
        listening.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ, ready)
        host, port = listening.getsockname()[:2]
        return host, port

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn(self._selector.select())
            deadline = time.monotonic() + LAST_READING
            while (events := self._selector.select(0)) and time.monotonic() < deadline:
                self._turn(events)
            for connection in list(self._connections):
                self._cut(connection)
        except Exception as error:  # ours: nobody waits for this thread
            failures.report("bridge.listener", error)
        finally:
            self._close()

    def _turn(self, events: Iterable[tuple[selectors.SelectorKey, int]]) -> None:
        self._pace.begin()
        for key, _ in events:
            try:
                key.data(key.fileobj)
            except Exception as error:  # one sender's; the others go on
                failures.report("bridge.receive", error)
            self._rest()

    def _rest(self, for_nothing: float = 0.0) -> None:
        if not self._stopping:
            self._pace.pause(for_nothing)

    def _hand_over(self, lines: list[bytes]) -> None:
        """Give lines to who receives them, a few at a time."""
        for begin in range(0, len(lines), LINES):
            part, lost = lines[begin : begin + LINES], 0
            try:
                lost = self._receive(part)
            except Exception as error:  # the other lines have no part in it
                failures.report("bridge.receive", error)
            self._rest(min(lost / len(part), 1.0))

    def _datagrams(self, listening: socket.socket) -> None:
        lines: list[bytes] = []
        with suppress(OSError):  # no more of them; of a broken one there is nothing to say
            while len(lines) < AHEAD:
                lines += self._datagram(listening).split(b"\n")
        short = [line for line in lines if len(line) <= self._longest_line]
        if len(short) < len(lines):
            self._lose("line_too_long", len(lines) - len(short))
        self._hand_over(short)

    def _datagram(self, listening: socket.socket) -> bytes:
        if _DROPPED is None:
            return listening.recv(CHUNK)
        content, ancillary, _, _ = listening.recvmsg(CHUNK, ANCILLARY)
        self._count_dropped(ancillary)
        return content

    def _count_dropped(self, ancillary: Iterable[tuple[int, int, bytes]]) -> None:
        """Count the datagrams that the kernel had no place for; it tells all since the begin."""
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == _DROPPED:
                dropped = int.from_bytes(content[:4], sys.byteorder)
                if dropped != self._dropped:
                    self._lose("datagram_dropped", (dropped - self._dropped) & 0xFFFFFFFF)
                    self._dropped = dropped

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no more files: it would be tried again at once
            failures.report("bridge.receive", error)
            time.sleep(AFTER_FAILURE)
            return
        close_in_child(connection)
        connection.setblocking(False)
        if len(self._connections) >= self._limit:
            self._lose("too_many_connections", 1)
            self._cut(next(iter(self._connections)))
        lines = Lines(self._longest_line, lambda: self._lose("line_too_long", 1))
        self._connections[connection] = lines
        self._selector.register(connection, selectors.EVENT_READ, self._read)

    def _read(self, connection: socket.socket) -> None:
        lines = self._connections.get(connection)
        if lines is None:  # made room for another one just now
            return
        try:
            content = connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:  # its last line may have no end
            self._hand_over(self._end(connection))
            return
        self._connections.move_to_end(connection)
        self._hand_over(lines.feed(content))

    def _cut(self, connection: socket.socket) -> None:
        """Close a connection whose sender goes on: what is there of a line may be half a number."""
        if self._end(connection):
            self._lose("unfinished_line", 1)

    def _end(self, connection: socket.socket) -> list[bytes]:
        """Close a connection; return what is left of it."""
        lines = self._connections.pop(connection)
        self._selector.unregister(connection)
        connection.close()
        return lines.end()

    def _close(self) -> None:
        for one in (*self._open, *self._connections):
            one.close()
        self._selector.close()
