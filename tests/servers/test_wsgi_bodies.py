"""What real WSGI servers make of a body: the same with the door as without, and all is counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from metrics import value
from ports import free_port
from servers.support import Server, python, running
from waiting import becomes

pytestmark = pytest.mark.real

BIND = "127.0.0.1:{port}"
UWSGI = str(Path(sys.executable).with_name("uwsgi"))
SERVERS = {
    "gunicorn": python("-m", "gunicorn", "--bind", BIND, "wsgi_bodies:app"),
    "granian": python(
        "-m", "granian", "--interface", "wsgi", "--port", "{port}", "wsgi_bodies:app"
    ),
    "uwsgi": [
        *(UWSGI, "--http-socket", BIND, "--master", "--die-on-term", "--need-app"),
        *("--virtualenv", sys.prefix, "--disable-logging", "--module", "wsgi_bodies:app"),
    ],
    "waitress": python("-m", "waitress", "--listen", BIND, "wsgi_bodies:app"),
}
EVERYWHERE = ("file", "blob", "list", "pieces", "empty", "tuple", "generator")
# PEP 3333 has no bytes for a body; uWSGI's sendfile knows neither Content-Length nor position.
ELSEWHERE = {"uwsgi": ("bytes",), "gunicorn": ("slice", "part", "pipe")}
CASES = [
    pytest.param(name, body, id=f"{name}-{body}")
    for name in SERVERS
    for body in (*EVERYWHERE, *ELSEWHERE.get(name, ()))
]


Start = Callable[[str], Server]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start a server that has not been started yet; each is there for all of its bodies."""
    with ExitStack() as stack:

        @cache
        def start(name: str) -> Server:
            if name == "uwsgi" and not Path(UWSGI).exists():
                pytest.skip("uWSGI is not installed")
            port = free_port()
            command = [part.format(port=port) for part in SERVERS[name]]
            return stack.enter_context(running(command, port))

        yield start


def told(server: Server, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    answer = server.client.request(method, path, headers={"accept-encoding": "identity"})
    headers = {name: text for name, text in answer.headers.items() if name != "date"}
    return answer.status_code, headers, answer.content


def counted(server: Server, name: str, **where: str) -> float:
    return value(server.metrics(), name, {"status": "200", **where})


@pytest.mark.parametrize(("name", "body"), CASES)
def test_a_body_is_sent_as_without_us(start: Start, name: str, body: str) -> None:
    server = start(name)
    names = ("http_requests_total", "http_response_body_bytes_total")
    requests, sent = (counted(server, name, method="GET") for name in names)
    for method in ("GET", "HEAD"):
        assert told(server, method, f"/{body}") == told(server, method, f"/bare/{body}")
    size = len(told(server, "GET", f"/bare/{body}")[2])
    assert becomes(lambda: counted(server, names[0], method="GET"), requests + 1) == requests + 1
    assert counted(server, names[1], method="GET") == sent + size
    assert value(server.metrics(), "http_responses_aborted_total") == 0
    assert value(server.metrics(), "prom_middleware_errors_total") == 0
    assert value(server.metrics(), "http_requests_in_progress") == 0
