"""A strict WSGI server without sockets: PEP 3333's duties of a server, and no more."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from prometheus_client import CollectorRegistry

from metrics import collected, value

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def environ(
    method: str = "GET", path: str = "/", body: bytes | None = None, **more: Any
) -> Environ:
    """Return the environ of a request; `body` brings its length along."""
    path, _, query = path.partition("?")
    made: Environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    if body is not None:
        made.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    made.update(more)
    setup_testing_defaults(made)
    made["SCRIPT_NAME"] = more.get("SCRIPT_NAME", "")
    return made


HANDSHAKE = {
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


class Exchange:
    """One request and what the server saw of its response."""

    def __init__(self) -> None:
        self.begun: tuple[str, list[tuple[str, str]]] | None = None
        self.headers_sent = False
        self.sent: list[bytes] = []
        self.error: BaseException | None = None
        self.result: Any = None
        self.on_piece: Callable[[], object] = lambda: None

    @property
    def body(self) -> bytes:
        return b"".join(self.sent)

    @property
    def status(self) -> int:
        """Return what the client reads: a server answers 500 where it could not start."""
        started = self.headers_sent or (self.begun is not None and self.error is None)
        return int(self.begun[0][:3]) if started and self.begun else 500

    @property
    def headers(self) -> dict[str, str]:
        assert self.begun is not None
        return {name.lower(): value for name, value in self.begun[1]}

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if exc_info and self.headers_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if not exc_info and self.begun is not None:
            raise AssertionError("start_response() was called before, and no exc_info given")
        self.begun = status, headers
        return self.write

    def write(self, data: bytes) -> None:
        self.headers_sent = True  # "or upon the application's first invocation of write()"
        self.send(data)

    def send(self, data: bytes) -> None:
        assert self.begun is not None, "a body without start_response()"
        assert isinstance(data, bytes), data
        if data:  # "an iteration of the return value that yields a non-empty bytestring"
            self.headers_sent = True
        self.sent.append(data)
        self.on_piece()

    def close(self) -> None:
        close = getattr(self.result, "close", None)
        if close is not None:
            close()


def call(
    app: Application,
    request: Environ,
    *,
    leave_after: int | None = None,
    iterate: bool = True,
    on_piece: Callable[[], object] = lambda: None,
) -> Exchange:
    """Serve one request.

    `leave_after` pieces the client is gone, so that the server closes the iterable there;
    `iterate=False` is the server that closes what it need not send (HEAD) without looking at it.
    `on_piece` is called after each piece.
    """
    exchange = Exchange()
    exchange.on_piece = on_piece
    try:
        exchange.result = app(request, exchange.start_response)
        try:
            if iterate:
                _send(exchange, leave_after)
        finally:
            exchange.close()
    except BaseException as error:
        exchange.error = error
    return exchange


def _send(exchange: Exchange, leave_after: int | None) -> None:
    for number, piece in enumerate(exchange.result, 1):
        exchange.send(piece)
        if number == leave_after:
            return
    assert exchange.begun is not None, "an exhausted iterable without start_response()"


def answers(body: Any) -> Any:
    """Return an application that returns `body`."""

    def app(env: dict[str, Any], start: Callable[..., object]) -> Any:
        start("200 OK", [("Content-Type", "text/plain")])
        return body

    return app


def seen(status: int, exception: str = "", outcome: str = "complete", method: str = "GET") -> Any:
    """Return the one record of a request that no framework has named."""
    return [(method, "<unmatched>", status, exception, outcome)]


def sent(registry: CollectorRegistry) -> float:
    """Return how many bytes of responses are recorded."""
    return value(collected(registry), "http_response_body_bytes_total")


def ignore(*_: object) -> Callable[[bytes], object]:
    """Stand in for a server's `start_response`."""
    return lambda _: None
