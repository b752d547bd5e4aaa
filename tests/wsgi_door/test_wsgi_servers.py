"""Real WSGI servers: their file wrappers, their short cuts, and what they answer by themselves."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware import failures
from prom_middleware.wsgi import PrometheusMiddleware
from wsgi_door.driver import call, environ, sent

Start = Callable[..., Any]
PLAIN = (("Content-Type", "text/plain"),)
CONTENT = b"0123456789" * 1000
HOST = "127.0.0.1"


def wrappers() -> list[Any]:
    found: list[Any] = [pytest.param(FileWrapper, id="wsgiref")]
    for server, module, name in (
        ("gunicorn", "gunicorn.http.wsgi", "FileWrapper"),
        ("waitress", "waitress.buffers", "ReadOnlyFileBasedBuffer"),
    ):
        imported = pytest.importorskip(module, reason=f"{server} is not installed")
        found.append(pytest.param(getattr(imported, name), id=server))
    return found


def file_app(path: Path) -> Any:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*PLAIN])
        return env["wsgi.file_wrapper"](path.open("rb"), 8192)  # type: ignore[no-any-return]

    return app


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("wrapper", wrappers())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_server_gets_its_own_file_wrapper(wrapper: Any, method: str, file: Path) -> None:
    registry = CollectorRegistry()
    app = PrometheusMiddleware(file_app(file), registry=registry)
    body: Any = app(environ(method, **{"wsgi.file_wrapper": wrapper}), lambda *_: None)
    assert type(body) is wrapper
    assert in_progress(registry) == 1
    stream = getattr(body, "filelike", None) or body.file
    body.close()
    assert stream.closed
    assert records(registry) == [(method, "<unmatched>", 200, "", "complete")]
    sent = 0 if method == "HEAD" else len(CONTENT)
    assert value(collected(registry), "http_response_body_bytes_total") == sent
    assert in_progress(registry) == 0


def test_a_wrapped_file_need_not_be_one() -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [*PLAIN])
        return env["wsgi.file_wrapper"](io.BytesIO(CONTENT))  # type: ignore[no-any-return]

    door = PrometheusMiddleware(app, registry=registry)
    exchange = call(door, environ(**{"wsgi.file_wrapper": FileWrapper}))
    assert exchange.body == CONTENT
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]
    assert value(collected(registry), "http_response_body_bytes_total") == len(CONTENT)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def get_stderr(self) -> Any:
        return io.StringIO()


@contextmanager
def wsgiref_server(app: Any) -> Iterator[int]:
    server = make_server(HOST, 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def waitress_server(app: Any) -> Iterator[int]:
    waitress = pytest.importorskip("waitress", reason="waitress is not installed")
    sockets: dict[int, Any] = {}
    server = waitress.create_server(app, host=HOST, port=0, map=sockets)
    stopped = threading.Event()

    def serve() -> None:
        from waitress import wasyncore

        while not stopped.is_set():
            # Not by select(), which takes no descriptor above 1023: other tests keep hundreds.
            wasyncore.loop(timeout=0.05, use_poll=True, map=sockets, count=1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.effective_port
    finally:
        stopped.set()
        thread.join()
        server.task_dispatcher.shutdown()
        for connection in list(sockets.values()):
            connection.close()


SERVERS = pytest.mark.parametrize(
    "server", [wsgiref_server, waitress_server], ids=["wsgiref", "waitress"]
)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def assert_recorded(registry: CollectorRegistry, *expected: Any) -> None:
    """Wait until the server's thread, which outlives the client's request, has recorded it."""
    deadline = time.monotonic() + 20
    while records(registry) != list(expected) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert records(registry) == list(expected)


def endless(pieces: list[int]) -> Any:
    def app(env: dict[str, Any], start: Start) -> Iterator[bytes]:
        start("200 OK", [*PLAIN])
        while len(pieces) < 2000:
            pieces.append(1)
            yield b"x" * 65536

    return app


def boom(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise ValueError("boom")


def single(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])
    return [b"single"]


def streamed(env: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("200 OK", [*PLAIN])
    yield b"sin"
    yield b"gle"


def echo(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [*PLAIN])
    return [env["wsgi.input"].read(int(env["CONTENT_LENGTH"]))]


@SERVERS
def test_a_single_piece_gets_its_content_length(server: Any) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(single, registry=registry)) as port:
        status, headers, body = ask(port, "GET", "/")
        assert (status, headers["Content-Length"], body) == (200, "6", b"single")
        assert_recorded(registry, ("GET", "<unmatched>", 200, "", "complete"))


@SERVERS
@pytest.mark.parametrize("app", [single, streamed])
def test_head(server: Any, app: Any) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(app, registry=registry)) as port:
        assert ask(port, "HEAD", "/")[::2] == (200, b"")
        assert_recorded(registry, ("HEAD", "<unmatched>", 200, "", "complete"))
    assert value(collected(registry), "http_response_body_bytes_total") == 0


@SERVERS
def test_bytes_both_ways(server: Any) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(echo, registry=registry)) as port:
        assert ask(port, "POST", "/", CONTENT)[::2] == (200, CONTENT)
        assert_recorded(registry, ("POST", "<unmatched>", 200, "", "complete"))
    samples = collected(registry)
    assert value(samples, "http_request_body_bytes_total") == len(CONTENT)
    assert value(samples, "http_response_body_bytes_total") == len(CONTENT)


def rewinding(app: Any) -> Any:
    """Read the whole body before the application does, as middleware that signs or logs it."""

    def middleware(env: dict[str, Any], start: Start) -> Any:
        assert env["wsgi.input"].read() == CONTENT
        env["wsgi.input"].seek(0)
        return app(env, start)

    return middleware


@pytest.mark.parametrize("doors", [1, 2])
def test_a_body_that_is_read_again_was_received_once(doors: int) -> None:
    registries, app = [CollectorRegistry() for _ in range(doors)], rewinding(echo)
    for registry in registries:
        app = PrometheusMiddleware(app, registry=registry)
    with waitress_server(app) as port:
        assert ask(port, "POST", "/", CONTENT)[::2] == (200, CONTENT)
        assert_recorded(registries[-1], ("POST", "<unmatched>", 200, "", "complete"))
    for registry in registries:
        assert value(collected(registry), "http_request_body_bytes_total") == len(CONTENT)


@SERVERS
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_a_file(server: Any, file: Path) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(file_app(file), registry=registry)) as port:
        assert ask(port, "GET", "/")[::2] == (200, CONTENT)
        assert_recorded(registry, ("GET", "<unmatched>", 200, "", "complete"))
    assert value(collected(registry), "http_response_body_bytes_total") == len(CONTENT)
    assert in_progress(registry) == 0


@SERVERS
def test_an_exception_is_the_server_s_500(server: Any) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(boom, registry=registry)) as port:
        assert ask(port, "GET", "/")[0] == 500
        assert_recorded(registry, ("GET", "<unmatched>", 500, "ValueError", "error"))


@SERVERS
@pytest.mark.parametrize("refused", ["text", 5])
@pytest.mark.parametrize("before", [[], [b"bytes"]], ids=["first", "second"])
def test_a_piece_that_the_server_refuses(server: Any, before: list[bytes], refused: Any) -> None:
    registry = CollectorRegistry()

    def app(env: dict[str, Any], start: Start) -> Any:
        start("200 OK", [*PLAIN, ("Content-Length", "9")])
        return [*before, refused]

    failed = failures.counts().get("send", 0)
    with server(PrometheusMiddleware(app, registry=registry)) as port, suppress(HTTPException):
        ask(port, "GET", "/")
    assert failures.counts().get("send", 0) == failed
    status = 200 if before else 500
    assert_recorded(registry, ("GET", "<unmatched>", status, "TypeError", "error"))
    assert sent(registry) == 5 * len(before)


@SERVERS
def test_a_client_that_leaves(server: Any) -> None:
    registry, pieces = CollectorRegistry(), []
    with server(PrometheusMiddleware(endless(pieces), registry=registry)) as port:
        with socket.create_connection((HOST, port), timeout=20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(100)
        assert_recorded(registry, ("GET", "<unmatched>", 200, "", "disconnect"))
    assert len(pieces) < 2000
    assert in_progress(registry) == 0


@SERVERS
def test_c10_what_the_server_answers_by_itself_is_not_counted(server: Any) -> None:
    registry = CollectorRegistry()
    with server(PrometheusMiddleware(single, registry=registry)) as port:
        with socket.create_connection((HOST, port), timeout=20) as client:
            client.sendall(b"GET / nonsense\r\n\r\n")
            assert b"400" in client.recv(1000)
        assert ask(port, "GET", "/")[0] == 200
        assert_recorded(registry, ("GET", "<unmatched>", 200, "", "complete"))


def test_c3_wsgi_inside_asgi_is_recorded_once() -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    a2wsgi = pytest.importorskip("a2wsgi", reason="a2wsgi is not installed")
    import asyncio

    from prom_middleware.asgi import PrometheusMiddleware as Outer

    registry = CollectorRegistry()
    app = Outer(
        a2wsgi.WSGIMiddleware(PrometheusMiddleware(single, registry=registry)), registry=registry
    )

    async def fetch() -> bytes:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/any")).content  # type: ignore[no-any-return]

    assert asyncio.run(fetch()) == b"single"
    assert records(registry) == [("GET", "<unmatched>", 200, "", "complete")]
    assert in_progress(registry) == 0


def test_a_scrape_inside_asgi_at_a_path_that_is_not_ascii() -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    a2wsgi = pytest.importorskip("a2wsgi", reason="a2wsgi is not installed")
    import asyncio

    from prom_middleware.asgi import PrometheusMiddleware as Outer
    from prom_middleware.wsgi import make_wsgi_app

    registry = CollectorRegistry()
    app = Outer(a2wsgi.WSGIMiddleware(make_wsgi_app(registry)), registry=registry)

    async def fetch() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/métriques")).status_code  # type: ignore[no-any-return]

    assert asyncio.run(fetch()) == 200
    assert records(registry) == []
