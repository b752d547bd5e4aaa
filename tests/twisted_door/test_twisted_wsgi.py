"""WSGI applications with a door of their own, below a site with one: recorded once, as alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.wsgi import WSGIResource

from metrics import collected, in_progress, records, value
from prom_middleware import failures, instrument
from prom_middleware.exposition import make_wsgi_app
from twisted_door.reactor import connect, in_reactor, read_all, request, serving
from waiting import becomes

Start = Callable[..., Any]
PLAIN = ("Content-Type", "text/plain")
EVENTS = ("Content-Type", "text/event-stream")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class Broken:
    """A body that cannot be closed."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])

    def close(self) -> None:
        raise OSError("close")


def lazily(*pieces: Any) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def app(env: dict[str, Any], start: Start) -> Any:
    path = env["PATH_INFO"]
    if path == "/early":
        raise KeyError("early")
    write = start("200 OK", [EVENTS if path == "/events" else PLAIN])
    if path == "/written":
        write(b"one")
        raise LookupError("written")
    if path == "/started":
        raise KeyError("started")
    return {
        "/fine": lambda: lazily(b"one", b"two"),
        "/list": lambda: [b"one", b"two"],
        "/midway": lambda: lazily(b"one", LookupError("midway")),
        "/first": lambda: lazily(LookupError("first")),
        "/events": lambda: lazily(ConnectionError("no events")),
        "/close": Broken,
        "/none": lambda: None,
    }[path]()


# Alone, the door records the same; but where a body cannot be closed, Twisted hangs up.
ROWS = {
    "W01": ("GET", "/list", 200, "", "complete"),
    "W04": ("GET", "/fine", 200, "", "complete"),
    "W06": ("GET", "/midway", 200, "LookupError", "error"),
    "W07": ("GET", "/first", 500, "LookupError", "error"),
    "W07-events": ("GET", "/events", 500, "ConnectionError", "error"),
    "W09": ("GET", "/early", 500, "KeyError", "error"),
    "W10": ("GET", "/started", 500, "KeyError", "error"),
    "W12": ("GET", "/written", 200, "LookupError", "error"),
    "W17": ("GET", "/close", 200, "OSError", "error"),
    "W25": ("GET", "/none", 500, "TypeError", "error"),
    "W25-head": ("HEAD", "/none", 500, "TypeError", "error"),
}


def asked(wsgi: Any, registry: CollectorRegistry, line: str) -> Any:
    """Ask for what is below the site's /wsgi, and return what was recorded of it."""
    root = Resource()
    root.putChild(b"wsgi", WSGIResource(reactor, reactor.getThreadPool(), wsgi))
    with serving(instrument(root, registry=registry)) as port:
        read_all(connect(port, request(line)))
        becomes(lambda: len(records(registry)), 1)
        in_reactor(int)
    assert in_progress(registry) == 0
    return records(registry)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row(registry: CollectorRegistry, row: Any) -> None:
    method, path, *rest = row
    found = asked(instrument(app, registry=registry), registry, f"{method} /wsgi{path}")
    assert found == [(method, "/wsgi/{path}", *rest)]
    samples = collected(registry)
    assert value(samples, "http_request_exceptions_total") == bool(row[3])
    assert value(samples, "http_stream_duration_seconds_count") == 0


def test_a_scrape_whose_path_is_no_text(registry: CollectorRegistry) -> None:
    root = Resource()
    scrapes = make_wsgi_app(registry)
    root.putChild(b"m", WSGIResource(reactor, reactor.getThreadPool(), scrapes))
    with serving(instrument(root, registry=registry, metrics_path=None)) as port:
        assert b"prom_middleware_workers" in read_all(connect(port, request("GET /m/%ff")))
        in_reactor(int)
    assert (records(registry), in_progress(registry)) == ([], 0)


@pytest.mark.parametrize("path", ["/early", "/started"])
def test_what_middleware_between_answers_is_complete(
    registry: CollectorRegistry, path: str
) -> None:
    door = instrument(app, registry=registry)

    def catching(env: dict[str, Any], start: Start) -> Iterable[bytes]:
        try:
            return door(env, lambda *_: lambda _: None)  # type: ignore[no-any-return]
        except KeyError:
            start("503 Service Unavailable", [PLAIN])
            return [b"sorry"]

    found = asked(catching, registry, f"GET /wsgi{path}")
    assert found == [("GET", "/wsgi/{path}", 503, "KeyError", "complete")]


def test_a_stream_of_flask_that_breaks(registry: CollectorRegistry) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    inside = flask.Flask(__name__)
    inside.add_url_rule("/s/<x>", "s", lambda x: flask.Response(lazily(b"one", KeyError(x))))
    found = asked(instrument(inside, registry=registry), registry, "GET /wsgi/s/3")
    assert found == [("GET", "/wsgi/s/<x>", 200, "KeyError", "error")]


@pytest.mark.parametrize(
    ("path", "route", "status"), [("/s/3", "/wsgi/s/<x>", 200), ("/no", "/wsgi/{path}", 404)]
)
def test_flask_with_middleware_of_its_own(
    registry: CollectorRegistry, path: str, route: str, status: int
) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    app = flask.Flask("below", static_folder=None)
    app.add_url_rule("/s/<x>", "s", lambda x: x)
    inner = app.wsgi_app
    app.wsgi_app = lambda env, start: inner({**env}, start)
    before = failures.counts()
    found = asked(instrument(app, registry=registry), registry, f"GET /wsgi{path}")
    assert found == [("GET", route, status, "", "complete")]
    assert failures.counts() == before


@pytest.mark.parametrize("mount", ["/a", "/b/c"])
def test_a_dispatcher_below_a_resource_is_in_the_route(
    registry: CollectorRegistry, mount: str
) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    inside = flask.Flask("inside", static_folder=None)
    inside.add_url_rule("/s/<x>", "s", lambda x: x)
    mounts = DispatcherMiddleware(app, {mount: instrument(inside, registry=registry)})
    found = asked(mounts, registry, f"GET /wsgi{mount}/s/3")
    assert found == [("GET", f"/wsgi{mount}/s/<x>", 200, "", "complete")]
