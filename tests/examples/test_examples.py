"""Each example as a real process: its pages, its sessions, and the numbers that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any, NamedTuple

import httpx
import pytest

from examples.conftest import Served, ask_until, client_of, running
from metrics import Series, value

pytestmark = pytest.mark.real

CONTENT_TYPE = "text/plain; version=0.0.4"
OTHER = "<unmatched>"


class Exchange(NamedTuple):
    """A request, and the labels under which it is to be found."""

    method: str
    path: str
    status: int
    route: str
    auth: tuple[str, str] | None = None


def get(path: str, status: int, route: str, **more: Any) -> Exchange:
    return Exchange("GET", path, status, route, **more)


FASTAPI = (
    get("/", 200, "/"),
    get("/", 200, "/"),
    get("/items/7", 200, "/items/{item_id}"),
    get("/items/8", 200, "/items/{item_id}"),
    get("/items/500", 404, "/items/{item_id}"),
    get("/nowhere/7", 404, OTHER),
    get("/account", 401, "/account"),
    Exchange("POST", "/login/joe", 200, "/login/{name}"),
    get("/account", 200, "/account"),
    Exchange("DELETE", "/account", 405, "/account"),
    get("/slow", 200, "/slow"),
    get("/boom", 500, "/boom"),
    get("/report", 200, "/report"),
)
FLASK = (
    get("/", 200, "/"),
    get("/", 200, "/"),
    get("/items/7", 200, "/items/<int:item_id>"),
    get("/items/500", 404, "/items/<int:item_id>"),
    get("/items/seven", 404, OTHER),
    get("/account", 401, "/account"),
    Exchange("POST", "/login/joe", 204, "/login/<name>"),
    get("/account", 200, "/account"),
    Exchange("DELETE", "/account", 405, "/account"),
    get("/boom", 500, "/boom"),
    get("/report", 200, "/report"),
)
DJANGO = (
    get("/", 200, "/"),
    get("/", 200, "/"),
    get("/items/7/", 200, "/items/<int:item_id>/"),
    get("/items/7", 301, OTHER),
    get("/items/500/", 404, "/items/<int:item_id>/"),
    get("/nowhere/", 404, OTHER),
    get("/account/", 302, "/account/"),
    Exchange("POST", "/login/", 403, "/login/"),  # without its token: CSRF
    get("/boom/", 500, "/boom/"),
    get("/report/", 200, "/report/"),
)
WSGI = (
    get("/", 200, OTHER),
    get("/", 200, OTHER),
    get("/nowhere", 404, OTHER),
    get("/boom", 500, OTHER),
    get("/report", 200, OTHER),
)
TWISTED = (
    get("/", 200, "/"),
    get("/", 200, "/"),
    get("/items/7", 200, "/items/{path}"),
    get("/nowhere", 404, OTHER),
    get("/private/account", 401, "/private/{path}"),
    get("/private/account", 200, "/private/{path}", auth=("joe", "secret")),
    get("/private/account", 401, "/private/{path}", auth=("joe", "wrong")),
    get("/boom", 500, "/boom"),
    get("/report", 200, "/report"),
)
EXAMPLES = {
    "fastapi": FASTAPI,
    "flask": FLASK,
    "django": DJANGO,
    "wsgi": WSGI,
    "twisted": TWISTED,
}
REPORT = "0,0\n1,100\n2,200\n3,300\n4,400\n"
REPORT_SECONDS = 5 * 0.02 * 0.9  # as it sleeps, less what clocks may differ by


def send(client: httpx.Client, exchange: Exchange) -> httpx.Response:
    return client.request(exchange.method, exchange.path, auth=exchange.auth)


def counted(samples: Series) -> dict[tuple[str, str, str], float]:
    return {
        (labels["method"], labels["route"], labels["status"]): count
        for (name, have), count in samples.items()
        if name == "http_requests_total" and (labels := dict(have))
    }


class Asked(NamedTuple):
    """A running example that was asked for all of its exchanges, and what was counted of them."""

    example: Served
    answers: list[httpx.Response]
    samples: Series


def expected_of(name: str) -> Counter[tuple[str, str, str]]:
    return Counter((e.method, e.route, str(e.status)) for e in EXAMPLES[name])


@pytest.fixture(scope="module")
def asked() -> Iterator[Callable[[str], Asked]]:
    """Start each example once: that takes longer than all that it is asked."""
    with ExitStack() as stack:

        @cache
        def ask(name: str) -> Asked:
            example = stack.enter_context(running(f"{name}/app.py"))
            answers = [send(example.client, exchange) for exchange in EXAMPLES[name]]
            expected = expected_of(name)
            samples = ask_until(example.metrics, lambda found: counted(found) == expected)
            return Asked(example, answers, samples)

        yield ask


@pytest.fixture
def again(asked: Callable[[str], Asked]) -> Iterator[Callable[[str], Served]]:
    """Ask an example once more, as who has no cookies yet."""
    with ExitStack() as stack:
        yield lambda name: Served(
            stack.enter_context(client_of(asked(name).example.client.base_url.port))
        )


@pytest.mark.parametrize("name", EXAMPLES)
def test_pages_and_numbers(name: str, asked: Any) -> None:
    _, answers, samples = asked(name)
    assert [r.status_code for r in answers] == [e.status for e in EXAMPLES[name]]
    assert [r.text for r in answers if r.url.path.startswith("/report")] == [REPORT]

    assert counted(samples) == expected_of(name)
    assert value(samples, "http_request_duration_seconds_count") == len(answers)
    assert value(samples, "http_request_duration_seconds_sum") >= REPORT_SECONDS
    sizes = sum(len(r.content) for r in answers if r.status_code == 200)
    assert value(samples, "http_response_body_bytes_total", {"status": "200"}) == sizes
    assert value(samples, "http_requests_in_progress") == 0
    assert value(samples, "http_request_exceptions_total", {"exception": "RuntimeError"}) == 1
    assert value(samples, "prom_middleware_errors_total") == 0


def check_scrape(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(CONTENT_TYPE)
    assert "set-cookie" not in response.headers
    assert response.headers["vary"] == "Accept, Accept-Encoding"  # and no cookie


@pytest.mark.parametrize("name", EXAMPLES)
def test_scrape_touches_no_session(name: str, again: Any) -> None:
    client = again(name).client
    client.get("/")
    check_scrape(client, "/metrics")
    check_scrape(client, "/metrics/")
    assert client.post("/metrics").status_code == 405
    head = client.head("/metrics", headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("name", ["fastapi", "flask"])
def test_login_is_remembered(name: str, again: Any) -> None:
    client = again(name).client
    client.post("/login/joe")
    assert client.get("/account").json() == {"user": "joe"}
    assert client.get("/").json()["hello"] == "joe"


def test_django_login_is_remembered(asked: Any, again: Any, eventually: Any) -> None:
    before, example = Counter(counted(asked("django").samples)), again("django")
    form = {"username": "joe", "password": "wrong", **example.client.get("/login/").json()}
    assert example.client.post("/login/", data=form).status_code == 401
    form["password"] = "secret"
    assert example.client.post("/login/", data=form).status_code == 204
    assert example.client.get("/account/").json() == {"user": "joe"}

    expected = {
        ("GET", "/login/", "200"): 1,
        ("POST", "/login/", "401"): 1,
        ("POST", "/login/", "204"): 1,
        ("GET", "/account/", "200"): 1,
    }

    def added() -> dict[tuple[str, str, str], float]:
        """Return what is counted since, less the front page, for which other tests ask as well."""
        found = Counter(counted(example.metrics())) - before
        return {labels: count for labels, count in found.items() if labels[1] != "/"}

    assert eventually(added, lambda found: found == expected) == expected


def test_wsgi_session_is_remembered(again: Any) -> None:
    client = again("wsgi").client
    assert [client.get("/").text for _ in range(2)] == ["Visit 1.\n", "Visit 2.\n"]


def test_twisted_miss_among_made_up_segments(again: Any) -> None:
    assert again("twisted").client.get("/items/500").status_code == 404


def test_event_stream_has_a_histogram_of_its_own(again: Any, eventually: Any) -> None:
    example = again("fastapi")
    assert example.client.get("/events").text.count("data: ") == 3
    route = {"route": "/events"}
    samples = eventually(
        example.metrics, lambda found: value(found, "http_requests_total", route) == 1
    )
    assert value(samples, "http_stream_duration_seconds_count", route) == 1
    assert value(samples, "http_stream_duration_seconds_sum", route) >= 3 * 0.05 * 0.9
    assert value(samples, "http_request_duration_seconds_count", route) == 0


def test_websocket(serve: Any, eventually: Any) -> None:
    from websockets.sync.client import connect

    example = serve("fastapi/app.py")
    url = str(example.client.base_url.copy_with(scheme="ws", path="/echo"))
    with connect(url, proxy=None) if takes_proxy(connect) else connect(url) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
    route = {"route": "/echo"}
    samples = eventually(
        example.metrics, lambda found: value(found, "websocket_connections_total", route) == 1
    )
    assert value(samples, "websocket_connections_total", {**route, "status": "101"}) == 1
    assert value(samples, "websocket_messages_total", {**route, "direction": "received"}) == 1
    assert counted(samples) == {}


def takes_proxy(connect: Callable[..., Any]) -> bool:
    # websockets 15 began to look for proxies in the environment.
    import websockets.version

    return int(websockets.version.version.split(".")[0]) >= 15
