"""The same promises on every server: each one is started, and driven over its socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from websockets.sync.client import connect

from metrics import value
from ports import free_port
from servers.support import Server, client, python, running
from waiting import becomes, eventually

pytestmark = pytest.mark.real

STREAM_SECONDS = 5 * 0.1  # what the applications' /stream sleeps
SLACK = 0.01  # clocks differ in their ticks


@dataclass(frozen=True)
class Kind:
    """A server: how to start it, and what it lets an application know."""

    command: tuple[str, ...]
    user: str
    codes: tuple[str, ...] = ("1000",)  # what it may tell of a websocket that the client closes


ASGI, WSGI, RESOURCE = "/users/{id}", "/users/<int:id>", "/users/{path}"
# Older releases of httpx cannot decode what HEAD leaves out.
PLAIN = {"accept-encoding": "identity"}
BIND = "127.0.0.1:{port}"
GUNICORN = ("-m", "gunicorn", "--bind", BIND, "--worker-class")

KINDS = {
    "uvicorn": Kind(("-m", "uvicorn", "--port", "{port}", "asgi_app:app"), ASGI),
    # Hypercorn tells 1006 also where the client closed as it should.
    "hypercorn": Kind(("-m", "hypercorn", "--bind", BIND, "asgi_app:app"), ASGI, ("1000", "1006")),
    "granian": Kind(
        ("-m", "granian", "--interface", "asgi", "--port", "{port}", "asgi_app:app"), ASGI
    ),
    "gunicorn-uvicorn": Kind((*GUNICORN, "uvicorn_worker.UvicornWorker", "asgi_app:app"), ASGI),
    "gunicorn-asgi": Kind((*GUNICORN, "asgi", "asgi_app:app"), ASGI),
    "daphne": Kind(("-m", "daphne", "--port", "{port}", "asgi_app:app"), ASGI),
    "gunicorn-sync": Kind((*GUNICORN, "sync", "wsgi_app:app"), WSGI),
    "gunicorn-gthread": Kind((*GUNICORN, "gthread", "--threads", "4", "wsgi_app:app"), WSGI),
    "waitress": Kind(("-m", "waitress", "--listen", BIND, "wsgi_app:app"), WSGI),
    "twisted": Kind(("twisted_app.py", "{port}"), RESOURCE),
}
ON_ASGI = [name for name, kind in KINDS.items() if kind.user is ASGI]
on_asgi = pytest.mark.parametrize("name", ON_ASGI, indirect=True, scope="module")


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kind(name: str) -> Kind:
    return KINDS[name]


@pytest.fixture(scope="module")
def server(kind: Kind) -> Iterator[Server]:
    port = free_port()
    command = python(*(part.format(port=port) for part in kind.command))
    with running(command, port) as server:
        yield server


@pytest.fixture(scope="module")
def trio_server() -> Iterator[Server]:
    port = free_port()
    address = BIND.format(port=port)
    command = python("-m", "hypercorn", "-k", "trio", "--bind", address, "trio_app:app")
    with running(command, port) as server:
        yield server


def count(server: Server, **where: str) -> float:
    return value(server.metrics(), "http_requests_total", where)


def counted(server: Server, expected: float, **where: str) -> None:
    """Assert that there were `expected` requests; the record may come after the last byte."""
    assert becomes(lambda: count(server, **where), expected) == expected


def settled(server: Server) -> float:
    """Return how many requests there were, once none is in progress."""
    assert becomes(lambda: value(server.metrics(), "http_requests_in_progress"), 0) == 0
    return count(server)


def test_sequence_on_a_connection_that_stays(server: Server, kind: Kind) -> None:
    with client(server.url) as http:
        statuses = [http.get("/users/1").status_code for _ in range(5)]
        statuses.append(http.head("/users/2").status_code)
        statuses.append(http.get("/nowhere").status_code)
        statuses.append(http.post("/echo", content=b"x" * 1000).status_code)
        statuses.append(http.get("/users/3").status_code)
    assert statuses == [200] * 6 + [404] + [200] * 2
    counted(server, 6, method="GET", route=kind.user, status="200")
    counted(server, 1, method="HEAD", route=kind.user, status="200")
    counted(server, 1, method="GET", route="<unmatched>", status="404")
    counted(server, 1, method="POST", route="/echo", status="200")
    samples = server.metrics()
    assert value(samples, "http_request_body_bytes_total", {"route": "/echo"}) == 1000
    assert value(samples, "http_response_body_bytes_total", {"route": "/echo"}) == 1000
    assert value(samples, "http_requests_in_progress") == 0


def test_exception(server: Server) -> None:
    assert server.client.get("/boom").status_code == 500
    counted(server, 1, route="/boom", status="500")
    where = {"route": "/boom", "exception": "ValueError"}
    raised = eventually(
        lambda: value(server.metrics(), "http_request_exceptions_total", where), bool
    )
    assert raised == 1
    before = settled(server)
    assert server.client.get("/").status_code == 200
    counted(server, before + 1)
    assert value(server.metrics(), "http_requests_in_progress") == 0


def test_stream_is_timed_to_its_last_byte(server: Server) -> None:
    answer = server.client.get("/stream")
    assert answer.text == "0\n1\n2\n3\n4\n"
    counted(server, 1, route="/stream", status="200")
    samples, where = server.metrics(), {"route": "/stream"}
    assert value(samples, "http_request_duration_seconds_count", where) == 1
    took = value(samples, "http_request_duration_seconds_sum", where)
    assert took >= STREAM_SECONDS - SLACK
    assert value(samples, "http_response_body_bytes_total", where) == 10
    assert value(samples, "http_responses_aborted_total", where) == 0


def test_client_that_leaves_mid_stream(server: Server) -> None:
    with server.client.stream("GET", "/endless") as answer:
        assert answer.status_code == 200
        next(answer.iter_raw())
    counted(server, 1, route="/endless", status="200")
    where = {"route": "/endless"}
    # What was wrong with a request is recorded after the request.
    samples = eventually(
        server.metrics, lambda found: value(found, "http_responses_aborted_total", where)
    )
    assert value(samples, "http_responses_aborted_total", where) == 1
    where["reason"] = "disconnect"
    assert value(samples, "http_responses_aborted_total", where) == 1
    assert value(samples, "http_requests_in_progress") == 0


# Waitress keeps what it is given, and says of none that it was not sent.
@pytest.mark.parametrize(
    "name", ["gunicorn-sync", "gunicorn-gthread"], indirect=True, scope="module"
)
def test_client_that_leaves_in_a_response_of_one_piece(server: Server) -> None:
    with server.client.stream("GET", "/large") as answer:
        assert answer.status_code == 200
        next(answer.iter_raw())
    counted(server, 1, route="/large", status="200")
    where = {"route": "/large", "reason": "disconnect"}

    def aborted() -> float:
        return value(server.metrics(), "http_responses_aborted_total", where)

    assert becomes(aborted, 1) == 1


def test_what_the_server_answers_by_itself_is_not_counted(server: Server) -> None:
    before = settled(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        connection.recv(65536)
    assert server.client.get("/").status_code == 200
    counted(server, before + 1)


def test_scrapes_count_themselves_afterwards_and_nowhere_else(server: Server) -> None:
    def scrapes() -> float:
        return value(server.metrics(), "prom_middleware_scrapes_total", {"code": "200"})

    requests, before = settled(server), scrapes()
    assert scrapes() == before + 1
    assert server.client.head("/metrics", headers=PLAIN).status_code == 200
    assert server.client.post("/metrics").status_code == 405
    assert count(server) == requests


@pytest.mark.parametrize("path", ["stream", "file"])
def test_whole_on_hypercorn_with_trio(path: str, trio_server: Server) -> None:
    """It tells of its own end before it returns from the last `send`: no client has left."""
    size = len(trio_server.client.get(f"/{path}").content)
    where = {"route": f"/{path}"}
    counted(trio_server, 1, **where)
    samples = trio_server.metrics()
    assert value(samples, "http_responses_aborted_total", where) == 0
    assert value(samples, "http_response_body_bytes_total", where) == size


@on_asgi
def test_background_tasks_are_not_in_the_duration(server: Server) -> None:
    assert server.client.get("/background").text == "begun"
    # The task runs until it is released, which happens below.
    assert becomes(lambda: value(server.metrics(), "background_tasks"), 1.0) == 1
    counted(server, 1, route="/background", status="200")
    samples = server.metrics()
    assert value(samples, "background_tasks") == 1
    assert value(samples, "http_request_duration_seconds_count", {"route": "/background"}) == 1
    assert value(samples, "http_requests_in_progress") == 0
    server.client.get("/release/background")
    assert becomes(lambda: value(server.metrics(), "background_tasks"), 0.0) == 0
    counted(server, 1, route="/background")


@on_asgi
def test_client_that_leaves_before_the_response(server: Server) -> None:
    """C1: the application never calls `receive`, so that nobody can know."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /deaf HTTP/1.1\r\nHost: localhost\r\n\r\n")
        live = eventually(lambda: value(server.metrics(), "http_requests_in_progress"), bool)
        assert live == 1
    server.client.get("/release/deaf")
    counted(server, 1, route="/deaf")
    samples = server.metrics()
    assert value(samples, "http_requests_total", {"route": "/deaf", "status": "200"}) == 1
    assert value(samples, "http_responses_aborted_total", {"route": "/deaf"}) == 0
    assert value(samples, "http_requests_in_progress") == 0


@on_asgi
def test_websocket(server: Server, kind: Kind) -> None:
    requests = settled(server)
    # Through a socket of our own, no proxy that the environment names comes in between.
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    with connect("ws://localhost/socket", sock=connection) as websocket:
        for word in ("one", "two"):
            websocket.send(word)
            assert websocket.recv(timeout=30) == word
        assert value(server.metrics(), "websocket_connections_open") == 1
    where = {"route": "/socket", "status": "101"}
    # The last thing that is recorded of it.
    duration = "websocket_connection_duration_seconds_count"
    samples = eventually(server.metrics, lambda found: value(found, duration))
    closed = [
        value(samples, "websocket_connections_total", {**where, "code": code})
        for code in kind.codes
    ]
    assert sum(closed) == 1
    for direction in ("received", "sent"):
        sent = {"route": "/socket", "direction": direction}
        assert value(samples, "websocket_messages_total", sent) == 2
    assert value(samples, "websocket_connections_open") == 0
    assert value(samples, duration) == 1
    assert count(server) == requests


@on_asgi
def test_websocket_that_nobody_serves(server: Server) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert server.client.get("/nowhere", headers=handshake).status_code == 403
    where = {"route": "<unmatched>", "status": "403", "code": "none"}
    refused = eventually(
        lambda: value(server.metrics(), "websocket_connections_total", where), bool
    )
    assert refused == 1
