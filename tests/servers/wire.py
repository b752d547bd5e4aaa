"""Stand between a scraper and a server, pass on every byte, and note what they say."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import h11

LEAST = 65536
END_OF_HEAD = b"\r\n\r\n"


class Exchange(NamedTuple):
    """A request and its answer; names of headers are in lower case, the body is as it was sent."""

    request: dict[str, str]
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def decoded(self) -> bytes:
        """Return the body without its coding."""
        coded = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if coded else self.body


class Wire:
    """One port that leads to another one.

    `accept`, where it is given, stands in the place of the scraper's own Accept header: as an older
    scraper would have sent it.
    """

    def __init__(self, server: int, accept: str | None = None) -> None:
        self.port = 0
        self.exchanges: deque[Exchange] = deque(maxlen=20)
        self.complaints: list[str] = []  # of h11, which holds both sides to RFC 9112
        self._server = server
        self._accept = accept

    async def open(self) -> asyncio.Server:
        """Listen."""
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        return listening

    async def _connected(self, near: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        asked: deque[h11.Request] = deque()
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                far, ask = await asyncio.open_connection("127.0.0.1", self._server)
                try:
                    ways = (self._requests(near, ask, asked), self._answers(far, reply, asked))
                    await _first([asyncio.ensure_future(way) for way in ways])
                finally:
                    await _hang_up(ask)
        finally:
            await _hang_up(reply)

    async def _requests(
        self, near: asyncio.StreamReader, ask: asyncio.StreamWriter, asked: deque[h11.Request]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await near.readuntil(END_OF_HEAD)
                if self._accept is not None:
                    head = _accepting(head, self._accept)
                asked.append(_request(head))
                ask.write(head)
                await ask.drain()

    async def _answers(
        self, far: asyncio.StreamReader, reply: asyncio.StreamWriter, asked: deque[h11.Request]
    ) -> None:
        answer = _Answer()
        with suppress(OSError):
            while data := await far.read(LEAST):
                reply.write(data)
                try:
                    self.exchanges.extend(answer.feed(data, asked))
                except h11.ProtocolError as error:
                    self.complaints.append(repr(error))
                await reply.drain()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever is left to be sent, before its loop is closed."""
    writer.close()
    with suppress(OSError, TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1)
    writer.transport.abort()


async def _first(ways: list[asyncio.Future[None]]) -> None:
    """Return when one side has closed, and leave the other way."""
    _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in left:
        way.cancel()


class _Answer:
    """Read the answers of one connection."""

    def __init__(self) -> None:
        self._left = b""
        self._parser: h11.Connection | None = None
        self._request: h11.Request | None = None
        self._response: h11.Response | None = None
        self._body: list[bytes] = []

    def feed(self, data: bytes, asked: deque[h11.Request]) -> Iterator[Exchange]:
        """Yield what `data` completes."""
        while data:
            if self._parser is None:
                self._begin(asked.popleft())
            assert self._parser is not None
            self._parser.receive_data(data)
            data = b""
            while (event := self._parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    yield self._end()
                    data = self._parser.trailing_data[0]
                    self._parser = None
                    break

    def _begin(self, request: h11.Request) -> None:
        self._request, self._body = request, []
        self._parser = h11.Connection(h11.CLIENT)
        self._parser.send(request)
        self._parser.send(h11.EndOfMessage())

    def _end(self) -> Exchange:
        assert self._request is not None
        assert self._response is not None
        return Exchange(
            _headers(self._request),
            self._response.status_code,
            _headers(self._response),
            b"".join(self._body),
        )


def _request(head: bytes) -> h11.Request:
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    return event


def _headers(event: h11.Request | h11.Response) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in event.headers}


def _accepting(head: bytes, accept: str) -> bytes:
    lines = [
        line
        for line in head.removesuffix(END_OF_HEAD).split(b"\r\n")
        if not line.lower().startswith(b"accept:")
    ]
    return b"\r\n".join([*lines, b"Accept: " + accept.encode()]) + END_OF_HEAD


class Wires:
    """Wires, all in one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: list[asyncio.Server] = []

    def lay(self, server: int, accept: str | None = None) -> Wire:
        """Return a wire to the port `server`."""
        wire = Wire(server, accept)
        self._open.append(asyncio.run_coroutine_threadsafe(wire.open(), self._loop).result(10))
        return wire

    async def cut(self) -> None:
        """Close all of them."""
        for listening in self._open:
            listening.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next turns


@contextmanager
def wires() -> Iterator[Wires]:
    """Give what lays wires, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    laid = Wires(loop)
    try:
        yield laid
    finally:
        asyncio.run_coroutine_threadsafe(laid.cut(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
