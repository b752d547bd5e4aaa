"""A server of HTTP/1.1 for the gateway, of the standard library's parts: it needs nothing else.

A thread for each connection, which stays open from push to push. Reading a request has a time
limit as a whole, so a peer that sends a byte now and then keeps no thread for long.
"""

from __future__ import annotations

import email.errors
import io
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from prom_middleware.exposition.access import ScrapeRequest
from prom_middleware.exposition.connections import Plain
from prom_middleware.exposition.listening import Listener, resolved
from prom_middleware.exposition.responses import Answer, without_body
from prom_middleware.pushgateway.gateway import Gateway
from prom_middleware.pushgateway.routing import bad_path, declared_length, text

if TYPE_CHECKING:
    from prom_middleware.exposition.webconfig import WebConfigFile

logger = logging.getLogger("prom_middleware")

# Seconds for a request to arrive, and for the next one to begin.
PATIENCE, IDLE = 60.0, 120.0
# Connections at a time: each has a thread.
MOST_CONNECTIONS = 1000
# Bytes at the rate of which a slow peer is given more time.
SLOWEST = 16 * 1024
# What is read of a body that nobody wants, so that its sender gets to see the answer.
LINGER_BYTES, LINGER_SECONDS = 4 * 1024 * 1024, 2.0
_LONGEST_CHUNK_LINE = 1024
# What is wrong with a head; the standard library looks for parts of a body as well.
_UNREADABLE = (
    email.errors.MissingHeaderBodySeparatorDefect,
    email.errors.FirstHeaderLineIsContinuationDefect,
    email.errors.InvalidHeaderDefect,
)
# What is before the path where somebody sends all of a URL (RFC 9112 section 3.2.2).
_ABSOLUTE = re.compile(r"^https?://[^/?]*/?", re.IGNORECASE)


class _BadBodyError(Exception):
    """A body whose framing is broken: nothing on this connection can be understood any more."""


class _Patient(io.RawIOBase):
    """Reads from a connection until a deadline, which is set for each request.

    Who sends a body has more time for it: not who only says how much there will be.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0
        self.is_in_body = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(remaining)
        found = self._connection.recv_into(buffer)
        if self.is_in_body:
            self.deadline += found / SLOWEST
        return found


class GatewayServer(Listener):
    """Serves a gateway at an address; `serve_forever` as the standard library's servers.

    `file` is a web-config file whose headers and limits hold; its users are the gateway's `access`.
    """

    allow_reuse_address = True
    patience = PATIENCE
    # Connections that wait for a next request are not waited for.
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        gateway: Gateway,
        connections: Plain | None = None,
        file: WebConfigFile | None = None,
    ) -> None:
        self.gateway = gateway
        self.file = file
        self.connections = connections or Plain()
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._working = 0
        self._rest = threading.Condition()
        self.address_family, place = resolved(*address)
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        """Take an address of IPv6 for IPv4 as well, where the system allows it."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, unless there are too many."""
        if not self._places.acquire(blocking=False):
            logger.warning("pushgateway: more than %d connections", MOST_CONNECTIONS)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a request that is being answered."""
        with self._rest:
            self._working += 1
        try:
            yield
        finally:
            with self._rest:
                self._working -= 1
                self._rest.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait until no request is being answered, but not longer than `seconds`."""
        with self._rest:
            self._rest.wait_for(lambda: not self._working, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: GatewayServer

    def setup(self) -> None:
        super().setup()
        self._patient = _Patient(self.connection)
        self._reader = io.BufferedReader(self._patient, 64 * 1024)
        self.rfile = self._reader

    def handle_one_request(self) -> None:
        """Read a request and answer it."""
        self._patient.deadline = monotonic() + IDLE
        self._is_admitted = False
        try:
            if not self._reader.peek(1):
                self.close_connection = True
                return
            self._patient.deadline = monotonic() + PATIENCE
            super().handle_one_request()
        except (TimeoutError, ConnectionError):
            self.close_connection = True

    def version_string(self) -> str:
        return "prom-middleware"

    def log_message(self, *args: Any) -> None:
        """Say nothing: a line per push helps nobody."""

    def parse_request(self) -> bool:
        """Refuse a request with a header that cannot be read: it may say how long the body is."""
        if not super().parse_request():
            return False
        if self._is_unreadable():
            self._send(text(400, "malformed header"), close=True)
            return False
        return True

    def _is_unreadable(self) -> bool:
        return any(isinstance(one, _UNREADABLE) for one in self.headers.defects)

    def handle_expect_100(self) -> bool:
        """Ask for a body only where it will be read (RFC 9110 section 10.1.1)."""
        if self._is_unreadable():
            return True  # it is refused next
        try:
            refused = self._refused()
            if refused is None and self._declared() is not None:
                self._is_admitted = True
                admitted = super().handle_expect_100()
                self.wfile.flush()
                return admitted
            answer = refused or self._answer(None)
        except _BadBodyError as error:
            answer = text(400, str(error))
        self._send(answer, close=True)
        return False

    def _serve(self) -> None:
        refused = None if self._is_admitted else self._refused()
        try:
            body = None if refused is not None else self._body()
        except _BadBodyError as error:
            self._send(text(400, str(error)), close=True)
            return
        too_long = refused is None and body is None
        unread = too_long or (refused is not None and self._has_body())
        with self.server.working():
            answer = refused if refused is not None else self._answer(body)
            self._send(answer, close=unread)
        if unread:
            self._linger()

    def __getattr__(self, name: str) -> Any:
        """Serve every method: which of them a path has, the gateway knows."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _request(self) -> ScrapeRequest:
        target, _, query = _ABSOLUTE.sub("/", self.path).partition("?")
        raw = target.encode("latin-1")  # as the standard library has read it
        return ScrapeRequest(
            method=self.command,
            path=unquote_to_bytes(raw).decode("utf-8", "surrogateescape"),
            query=query,
            headers={name.lower(): value for name, value in reversed(self.headers.items())},
            client=str(self.client_address[0]),
        )

    def _refused(self) -> Answer | None:
        file = self.server.file
        if file is not None and not file.allows_one_more():
            return text(429, "Too many requests.")
        refused = self.server.gateway.refusal(self._request())
        return refused or bad_path(self.path.encode("latin-1"))

    def _answer(self, body: bytes | None) -> Answer:
        return self.server.gateway.answer(self._request(), body)

    # Bodies.

    def _has_body(self) -> bool:
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length") not in (
            None,
            "0",
        )

    def _declared(self) -> int | None:
        """Return the length that the headers say, 0 for none, or None where that is too much."""
        coding = self.headers.get("Transfer-Encoding")
        lengths = self.headers.get_all("Content-Length")
        if coding is not None and (lengths or coding.strip().lower() != "chunked"):
            raise _BadBodyError("unsupported transfer encoding")
        if not lengths:
            return 0
        if len({*lengths}) > 1:
            raise _BadBodyError("bad Content-Length")
        try:
            return declared_length(lengths[0].strip(), self.server.gateway.options.max_body_bytes)
        except ValueError as error:
            raise _BadBodyError(str(error)) from error

    def _body(self) -> bytes | None:
        """Return the body, or None where it is too long (RFC 9112 section 6)."""
        self._patient.is_in_body = True
        try:
            return self._framed()
        finally:
            self._patient.is_in_body = False

    def _framed(self) -> bytes | None:
        length = self._declared()
        if "Transfer-Encoding" in self.headers:
            return self._chunked()
        return None if length is None else self._read(length)

    def _chunked(self) -> bytes | None:
        body = bytearray()  # a list of tiny chunks would take many times as much
        for length in self._chunk_lengths():
            if len(body) + length > self.server.gateway.options.max_body_bytes:
                return None
            body += self._read(length)
            if self._line():
                raise _BadBodyError("malformed chunked encoding")
        self._patient.is_in_body = False
        while self._line():  # trailers
            pass
        return bytes(body)

    def _chunk_lengths(self) -> Iterator[int]:
        while True:
            digits = self._line().partition(b";")[0].strip()
            if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
                raise _BadBodyError("malformed chunked encoding")
            length = int(digits, 16)
            if not length:
                return
            yield length

    def _line(self) -> bytes:
        line = self._reader.readline(_LONGEST_CHUNK_LINE)
        if not line.endswith(b"\n"):
            raise _BadBodyError("malformed chunked encoding")
        return line.strip(b"\r\n")

    def _read(self, length: int) -> bytes:
        found = self._reader.read(length)
        if len(found) < length:
            raise ConnectionError("the client has left")
        return found

    # Answers.

    def _send(self, answer: Answer, *, close: bool) -> None:
        self.close_connection |= close
        self.connection.settimeout(PATIENCE)
        self.send_response(answer.status)
        headers = self.server.file.headers() if self.server.file else []
        for name, value in [*answer.headers, *headers]:
            self.send_header(name, value)
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        for part in without_body(answer, self.command).parts:
            self.wfile.write(part)
        self.wfile.flush()

    def _linger(self) -> None:
        """Read on for a while: closing at once would take the answer away from its reader."""
        self._patient.deadline = monotonic() + LINGER_SECONDS
        self.connection.shutdown(socket.SHUT_WR)
        remaining = LINGER_BYTES
        while remaining > 0:
            found = self._reader.read1(64 * 1024)
            if not found:
                return
            remaining -= len(found)
