"""Websockets, whose socket the application takes from the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.stores.multiprocess import MultiprocessStore
from prom_middleware.wsgi import PrometheusMiddleware
from stores.multiprocess.children import killed, run
from wsgi_door.driver import HANDSHAKE, answers, call, environ, ignore, seen

Start = Callable[..., Any]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def takes_the_socket(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    """As flask-sock and Flask-SocketIO under gunicorn: so its threads are told to let go."""
    raise StopIteration


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_websocket_is_no_request(registry: CollectorRegistry, upgrade: str) -> None:
    running: list[float] = []

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        running.append(in_progress(registry))
        return takes_the_socket(env, start)

    door = PrometheusMiddleware(app, registry=registry)
    answer = call(door, environ(**{**HANDSHAKE, "HTTP_UPGRADE": upgrade}))
    assert isinstance(answer.error, StopIteration)
    assert running == [0]
    assert records(registry) == []
    assert value(collected(registry), "http_request_exceptions_total") == 0


def hello(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.mark.parametrize("missing", ["", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_KEY"])
def test_a_handshake_that_is_answered_is_a_request(
    registry: CollectorRegistry, missing: str
) -> None:
    headers = {name: text for name, text in HANDSHAKE.items() if name != missing}
    call(PrometheusMiddleware(hello, registry=registry), environ(**headers))
    assert records(registry) == seen(200)
    assert in_progress(registry) == 0


def test_a_handshake_is_a_get(registry: CollectorRegistry) -> None:
    """RFC 6455 section 4.1; by any other method, it is a request without a body."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return []

    call(PrometheusMiddleware(app, registry=registry), environ("POST", **HANDSHAKE))
    assert records(registry) == seen(200, method="POST")


def redirects(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("302 Found", [("Location", "/login")])
    return []


def fails(env: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise LookupError


@pytest.mark.parametrize(
    ("app", "expected"), [(redirects, (302,)), (fails, (500, "LookupError", "error"))]
)
def test_a_handshake_without_a_body_is_a_request(
    registry: CollectorRegistry, app: Any, expected: tuple[Any, ...]
) -> None:
    call(PrometheusMiddleware(app, registry=registry), environ(**HANDSHAKE))
    assert records(registry) == seen(*expected)
    assert in_progress(registry) == 0


def test_a_socket_that_was_taken_without_an_exception_is_no_request(
    registry: CollectorRegistry,
) -> None:
    """As flask-sock under werkzeug: the page that it returns is empty."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return []

    call(PrometheusMiddleware(app, registry=registry), environ(**HANDSHAKE))
    assert records(registry) == []
    assert in_progress(registry) == 0


@pytest.mark.parametrize("status", ["", "101 Switching Protocols", "200 OK"])
def test_a_worker_that_dies_leaves_no_request_of_a_socket_that_was_taken(
    shared: MultiprocessStore, registry: CollectorRegistry, status: str
) -> None:
    """What has begun to be answered by then is promised to be counted: nothing has."""

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        if status:
            start(status, [])
        return iter(())

    door = PrometheusMiddleware(app, registry=registry)
    killed(lambda: call(door, environ(**HANDSHAKE)))
    assert records(registry) == []


def test_a_worker_that_dies_leaves_the_request_of_a_handshake_that_was_answered(
    shared: MultiprocessStore, registry: CollectorRegistry
) -> None:
    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("403 Forbidden", [])
        yield b"no"
        os.kill(os.getpid(), signal.SIGKILL)

    door = PrometheusMiddleware(app, registry=registry)
    assert run(lambda: call(door, environ(**HANDSHAKE))) == -signal.SIGKILL
    assert value(collected(registry), "http_requests_total", {"status": "403"}) == 1


@pytest.mark.parametrize("iterate", [True, False])
def test_nothing_is_returned_by_who_has_the_socket_or_has_forgotten_to(
    registry: CollectorRegistry, iterate: bool
) -> None:
    """As gevent-websocket lets its applications: it does not look at what they return."""
    app = PrometheusMiddleware(lambda env, start: None, registry=registry)
    call(app, environ(**HANDSHAKE), iterate=iterate)
    assert records(registry) == (seen(500, "TypeError", "error") if iterate else [])
    assert in_progress(registry) == 0


@pytest.mark.parametrize("handled", [object(), b"no entry"], ids=["sentinel", "bytes"])
def test_what_a_server_knows_again_reaches_it(registry: CollectorRegistry, handled: Any) -> None:
    """The sentinel of gunicorn's async workers, and what uWSGI sends in one piece."""
    door = PrometheusMiddleware(answers(handled), registry=registry)
    request = environ(**HANDSHAKE, **{"uwsgi.version": b"2.0.31"})
    assert door(request, ignore) is handled
    assert records(registry) == (seen(200) if handled == b"no entry" else [])
    assert in_progress(registry) == 0


def test_who_writes_on_after_the_client_of_a_handshake_has_left_ends_it_once(
    registry: CollectorRegistry,
) -> None:
    def gone_after_the_first(data: bytes) -> None:
        if data != b"no":
            raise BrokenPipeError

    def app(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        write = start("403 Forbidden", [])
        for piece in (b"no", b"entry", b"here"):
            with suppress(OSError):
                write(piece)
        return []

    door = PrometheusMiddleware(app, registry=registry)
    assert list(door(environ(**HANDSHAKE), lambda *_: gone_after_the_first)) == []
    assert records(registry) == seen(403, outcome="disconnect")
    assert in_progress(registry) == 0


def test_a_handshake_may_be_a_scrape(registry: CollectorRegistry) -> None:
    door = PrometheusMiddleware(make_wsgi_app(registry), registry=registry)
    call(door, environ(**HANDSHAKE))
    assert records(registry) == []
    assert in_progress(registry) == 0


def test_a_handshake_that_is_a_scrape_leaves_other_requests_in_progress(
    registry: CollectorRegistry,
) -> None:
    door = PrometheusMiddleware(make_wsgi_app(registry), registry=registry)
    running: list[float] = []

    def asks(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        call(door, environ(**HANDSHAKE))
        running.append(in_progress(registry))
        return hello(env, start)

    call(PrometheusMiddleware(asks, registry=registry), environ())
    assert running == [1]
    assert records(registry) == seen(200)
