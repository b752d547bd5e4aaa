"""/metrics on a Twisted site, in and out of guard; request classes, bytes, encodings, WSGI."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.rewrite import RewriterResource
from twisted.web.server import Request, Site
from twisted.web.wsgi import WSGIResource

from metrics import Series, collected, in_progress, records, series, value
from prom_middleware import basic_auth, instrument
from prom_middleware.errors import ConfigurationError, NotAnApplicationError
from prom_middleware.exposition import make_wsgi_app
from prom_middleware.twisted import MetricsResource, instrument_site
from twisted_door.reactor import ask, connect, in_reactor, read_all, request, serving
from twisted_door.resources import USER, Leaf, guarded, tree
from waiting import becomes, eventually

SCRAPES = "prom_middleware_scrapes_total"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def counted(registry: CollectorRegistry, requests: float = 1) -> Series:
    """Return the samples once `requests` requests are recorded."""
    return eventually(
        lambda: collected(registry), lambda s: value(s, "http_requests_total") >= requests
    )


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics?name[]=x"])
def test_metrics_of_the_site(path: str, registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        ask(port, "GET /session")
        counted(registry)
        answer = ask(port, f"GET {path}")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "set-cookie" not in answer.headers
        if "?" not in path:
            assert value(series(answer.body.decode()), "http_requests_total") == 1
    assert records(registry) == [("GET", "/session", 200, "", "complete")]
    assert value(collected(registry), SCRAPES, {"code": "200"}) == 1


def test_metrics_head_and_other_methods(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        head = ask(port, "HEAD /metrics")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        for method in ("POST", "OPTIONS", "FOO", "DELETE"):
            refused = ask(port, f"{method} /metrics")
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert records(registry) == []
    assert in_progress(registry) == 0


@pytest.mark.parametrize("path", ["/%6detrics", "/metrics%2F", "/m%65trics?name[]=x"])
def test_an_encoded_path_is_the_path(path: str, registry: CollectorRegistry) -> None:
    with serving(instrument(Resource(), registry=registry)) as port:
        assert ask(port, f"GET {path}").status == 200
    assert records(registry) == []


@pytest.mark.parametrize(
    ("metrics_path", "line"), [("/my metrics", "/my%20metrics"), ("/métrics", "/m%C3%A9trics")]
)
def test_a_metrics_path_of_other_characters(
    metrics_path: str, line: str, registry: CollectorRegistry
) -> None:
    site = instrument(Resource(), registry=registry, metrics_path=metrics_path)
    with serving(site) as port:
        assert ask(port, f"GET {line}").status == 200
        assert ask(port, "GET /metrics").status == 404
        counted(registry)
    assert records(registry) == [("GET", "<unmatched>", 404, "", "complete")]


def test_metrics_path_none_leaves_the_path_to_the_application(registry: CollectorRegistry) -> None:
    with serving(instrument(Resource(), registry=registry, metrics_path=None)) as port:
        assert ask(port, "GET /metrics").status == 404
        counted(registry)
    assert records(registry) == [("GET", "<unmatched>", 404, "", "complete")]


def test_access(registry: CollectorRegistry, tmp_path: Path) -> None:
    site = instrument(tree(tmp_path), registry=registry, access=basic_auth("joe", "secret"))
    with serving(site) as port:
        refused = ask(port, "GET /metrics")
        assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        assert "set-cookie" not in refused.headers
        assert ask(port, "GET /metrics", USER).status == 200
    assert records(registry) == []


def test_metrics_resource_alone(registry: CollectorRegistry) -> None:
    root = Resource()
    root.putChild(b"m", MetricsResource(registry))
    with serving(Site(root)) as port:
        assert ask(port, "GET /m").status == 200
        assert ask(port, "HEAD /m").body == b""
        assert ask(port, "POST /m").status == 405


@pytest.mark.parametrize("disabled", [True, False])
def test_a_metrics_resource_need_not_compress(registry: CollectorRegistry, disabled: bool) -> None:
    root = Resource()
    root.putChild(b"m", MetricsResource(registry, disable_compression=disabled))
    with serving(Site(root)) as port:
        answer = ask(port, "GET /m", {"Accept-Encoding": "gzip"})
    assert ("content-encoding" in answer.headers) != disabled


def test_metrics_resource_is_not_recorded(registry: CollectorRegistry) -> None:
    root = Resource()
    root.putChild(b"m", MetricsResource(registry))
    with serving(instrument(root, registry=registry, metrics_path=None)) as port:
        scrape = ask(port, "GET /m")
        assert scrape.status == 200
        assert b"http_requests_total{" not in scrape.body
        in_reactor(int)
    assert records(registry) == []
    assert in_progress(registry) == 0


def test_metrics_inside_guard(registry: CollectorRegistry) -> None:
    inside = Resource()
    inside.putChild(b"metrics", MetricsResource(registry))
    root = Resource()
    root.putChild(b"guard", guarded(inside))
    with serving(instrument(root, registry=registry, metrics_path=None)) as port:
        assert ask(port, "GET /guard/metrics").status == 401
        expected = [("GET", "/guard/{path}", 401, "", "complete")]
        assert becomes(lambda: records(registry), expected) == expected
        answer = ask(port, "GET /guard/metrics", USER)
        assert answer.status == 200
        assert "set-cookie" not in answer.headers
        in_reactor(int)
    assert records(registry) == expected
    assert in_progress(registry) == 0


def test_metrics_outside_a_guarded_root(registry: CollectorRegistry) -> None:
    with serving(instrument(guarded(Leaf()), registry=registry)) as port:
        assert ask(port, "GET /secret").status == 401
        counted(registry)
        assert ask(port, "GET /metrics").status == 200
        assert ask(port, "GET /metrics").status == 200
    assert [row[:3] for row in records(registry)] == [("GET", "/{path}", 401)]


class Marked(Request):
    """An application's own request class."""

    def process(self) -> None:
        self.setHeader(b"x-marked", b"yes")
        super().process()


def make_marked(*arguments: Any, **keywords: Any) -> Request:
    return Marked(*arguments, **keywords)


@pytest.mark.parametrize("factory", [Marked, make_marked], ids=["class", "callable"])
def test_request_factory(factory: Any, registry: CollectorRegistry, tmp_path: Path) -> None:
    site = Site(tree(tmp_path), requestFactory=factory)
    with serving(instrument(site, registry=registry)) as port:
        assert ask(port, "GET /leaf").headers["x-marked"] == "yes"
        counted(registry)
        assert ask(port, "GET /metrics").status == 200
    assert records(registry) == [("GET", "/leaf", 200, "", "complete")]


def test_a_given_site_comes_back(registry: CollectorRegistry) -> None:
    site = Site(Resource())
    assert instrument(site, registry=registry) is site


def test_bytes(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        assert ask(port, "POST /echo", body=b"x" * 70_000).body == b"x" * 70_000
        samples = counted(registry)
    assert value(samples, "http_request_body_bytes_total", {"route": "/echo"}) == 70_000
    assert value(samples, "http_response_body_bytes_total", {"route": "/echo"}) == 70_000


def test_bytes_of_chunks_without_their_frames(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = ask_chunked(port, [b"a" * 10, b"b" * 20])
        assert answer.endswith(b"a" * 10 + b"b" * 20)
        samples = counted(registry)
        assert value(samples, "http_request_body_bytes_total") == 30
        ask(port, "GET /slow")  # its answer has no length, so it goes out in chunks
        samples = counted(registry, 2)
    assert value(samples, "http_response_body_bytes_total", {"route": "/slow"}) == len(b"slow")


def ask_chunked(port: int, pieces: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return read_all(connect(port, request("POST /echo", {"Transfer-Encoding": "chunked"}) + body))


def test_head_sends_no_bytes(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        assert ask(port, "HEAD /leaf").body == b""
        assert value(counted(registry), "http_response_body_bytes_total") == 0


def test_gzip_counts_what_was_sent(registry: CollectorRegistry, tmp_path: Path) -> None:
    # HTTP/1.0 has no chunks: all that follows the headers is the body.
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = ask(port, "GET /zip HTTP/1.0", {"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        samples = counted(registry)
    assert 0 < len(answer.body) < 1000
    where = {"route": "/zip", "status": "200"}
    assert value(samples, "http_response_body_bytes_total", where) == len(answer.body)
    assert records(registry) == [("GET", "/zip", 200, "", "complete")]


def test_what_an_encoder_sends_by_itself_is_an_answer(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    """Nothing was written, and the end of the compression is sent past `write`."""
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = ask(port, "GET /zipped HTTP/1.0", {"Accept-Encoding": "gzip"})
        samples = counted(registry)
    assert answer.body
    assert value(samples, "http_response_body_bytes_total") == len(answer.body)
    assert records(registry) == [("GET", "/zipped", 202, "", "complete")]


def test_a_scrape_accepts_what_all_its_lines_say(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        answer = ask(port, "GET /metrics", {"Accept-Encoding": "br", "accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"


def test_event_streams_are_no_latency(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        ask(port, "GET /events")
        samples = counted(registry)
    assert value(samples, "http_stream_duration_seconds_count", {"route": "/events"}) == 1
    assert value(samples, "http_stream_duration_seconds_sum", {"route": "/events"}) >= 0.1
    assert value(samples, "http_request_duration_seconds_count") == 0


def test_the_duration_lasts_to_the_last_byte(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        ask(port, "GET /slow")
        samples = counted(registry)
    assert value(samples, "http_request_duration_seconds_sum", {"route": "/slow"}) >= 0.1


def test_queue_header(registry: CollectorRegistry, tmp_path: Path) -> None:
    with serving(instrument(tree(tmp_path), registry=registry)) as port:
        for name in ("X-Request-Start", "X-Queue-Start"):
            ask(port, "GET /leaf", {name: f"t={time.time() - 5:.3f}"})
        ask(port, "GET /leaf")
        samples = counted(registry, 3)
    assert value(samples, "http_request_queue_seconds_count") == 2
    assert value(samples, "http_request_queue_seconds_sum") > 8


def test_exclude_and_labels(registry: CollectorRegistry, tmp_path: Path) -> None:
    labels = {"host": lambda facts: facts.headers["host"], "colour": "blue"}
    site = instrument(tree(tmp_path), registry=registry, exclude=["/leaf"], labels=labels)
    with serving(site) as port:
        ask(port, "GET /leaf")
        ask(port, "GET /u/joe?x=1")
        samples = counted(registry)
    where = {"route": "/u/{path}", "host": "localhost", "colour": "blue"}
    assert value(samples, "http_requests_total", where) == 1
    assert value(samples, "http_requests_total") == 1


def test_exclude_and_labels_are_told_the_decoded_path(registry: CollectorRegistry) -> None:
    root = Resource()
    for name in ("sp ace", "é", "100%"):
        root.putChild(name.encode(), Leaf())
    labels = {"path": lambda facts: facts.path}
    site = instrument(root, registry=registry, exclude=["/sp ace", "/é"], labels=labels)
    with serving(site) as port:
        for path in ("/sp%20ace", "/%C3%A9", "/100%25"):
            assert ask(port, f"GET {path}").status == 200
        samples = counted(registry)
        in_reactor(int)
    assert value(samples, "http_requests_total") == 1
    assert value(samples, "http_requests_total", {"path": "/100%", "route": "/100%"}) == 1


def of_a_tenant(request: Any) -> None:
    assert request.postpath.pop(0) == b"acme"
    request.path = b"/" + b"/".join(request.postpath)


def test_labels_are_told_the_path_at_the_door(registry: CollectorRegistry, tmp_path: Path) -> None:
    root = RewriterResource(tree(tmp_path), of_a_tenant)
    site = instrument(root, registry=registry, labels={"path": lambda facts: facts.path})
    with serving(site) as port:
        assert ask(port, "GET /acme/branch/t%77ig?a=?").body == b"twig"
        samples = counted(registry)
    assert value(samples, "http_requests_total", {"path": "/acme/branch/twig"}) == 1


def test_two_registries(tmp_path: Path) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    site = instrument(instrument(tree(tmp_path), registry=one), registry=other, metrics_path="/m")
    expected = [("GET", "/leaf", 200, "", "complete")]
    with serving(site) as port:
        ask(port, "GET /leaf")
        assert ask(port, "GET /m").status == 200
        for registry in (one, other):
            counted(registry)
    assert expected[0] in records(one)
    assert records(other) == expected


def test_instrumented_twice_counts_once(registry: CollectorRegistry, tmp_path: Path) -> None:
    site = instrument(instrument(tree(tmp_path), registry=registry), registry=registry)
    with serving(site) as port:
        ask(port, "GET /leaf")
        counted(registry)
        in_reactor(int)
    assert records(registry) == [("GET", "/leaf", 200, "", "complete")]
    assert in_progress(registry) == 0


@pytest.mark.parametrize(
    ("path", "row"),
    {
        "/flask/q/3": ("GET", "/flask/q/<int:i>", 200, "", "complete"),
        "/flask/s/a%20b": ("GET", "/flask/s/<text>", 200, "", "complete"),
        "/%66lask/s/%C3%A9%2541": ("GET", "/flask/s/<text>", 200, "", "complete"),
        "/flask/nope": ("GET", "/flask/{path}", 404, "", "complete"),
        "/flask/boom": ("GET", "/flask/boom", 500, "ValueError", "complete"),
    }.items(),
)
def test_an_instrumented_flask_application_inside(
    path: str, row: tuple[str, str, int, str, str], registry: CollectorRegistry
) -> None:
    root = Resource()
    root.putChild(b"flask", WSGIResource(reactor, reactor.getThreadPool(), flask_app(registry)))
    with serving(instrument(root, registry=registry)) as port:
        assert ask(port, f"GET {path}").status == row[2]
        assert becomes(lambda: records(registry), [row]) == [row]
        in_reactor(int)
    assert records(registry) == [row]
    assert in_progress(registry) == 0


def test_a_scrape_of_a_wsgi_application_inside_is_not_recorded(registry: CollectorRegistry) -> None:
    scraped, root = make_wsgi_app(registry), Resource()
    root.putChild(b"my metrics", WSGIResource(reactor, reactor.getThreadPool(), scraped))
    with serving(instrument(root, registry=registry)) as port:
        assert ask(port, "GET /my%20metrics").status == 200
        assert becomes(lambda: in_progress(registry), 0.0) == 0
        in_reactor(int)
    assert records(registry) == []


def flask_app(registry: CollectorRegistry) -> Any:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    app = flask.Flask(__name__)

    @app.route("/q/<int:i>")
    def q(i: int) -> str:
        return str(i)

    @app.route("/s/<text>")
    def s(text: str) -> str:
        return text

    @app.route("/boom")
    def boom() -> str:
        raise ValueError("boom")

    return instrument(app, registry=registry)


def test_wrong_options(registry: CollectorRegistry) -> None:
    with pytest.raises(ConfigurationError, match="buckets"):
        instrument(Resource(), registry=registry, buckets=[])
    with pytest.raises(NotAnApplicationError, match="42"):
        instrument_site(42)
