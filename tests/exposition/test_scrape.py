"""A scrape: methods, selection, failures, and what the text says."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from metrics import collected, series, value
from prom_middleware import failures
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.exposition import (
    ScrapeRequest,
    ScrapeResponse,
    make_asgi_app,
    make_wsgi_app,
    scraping,
)
from prom_middleware.exposition.access import basic_auth
from prom_middleware.exposition.asgi import headers
from prom_middleware.exposition.options import Limits
from prom_middleware.exposition.scraping import scrape

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHERS = ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW"]
METHODS = [("GET", 200), ("HEAD", 200), *((method, 405) for method in OTHERS)]


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("mine", "Mine.", ["name"], registry=registry).labels('a\\b"c\nd\N{SNOWMAN}').inc(3)
    return registry


class Broken(Collector):
    """A collector of the user's own that fails."""

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> list[Any]:
        raise RuntimeError("no metrics today")


def asked(method: str = "GET", query: str = "") -> ScrapeRequest:
    return ScrapeRequest(method, "/metrics", query, {}, "127.0.0.1")


def by_wsgi(registry: CollectorRegistry, method: str, query: str = "") -> ScrapeResponse:
    told: list[Any] = []
    environ: Any = {"REQUEST_METHOD": method, "PATH_INFO": "/x", "QUERY_STRING": query}
    app: Any = make_wsgi_app(registry)
    body = b"".join(app(environ, lambda *start: told.append(start)))
    ((line, headers),) = told
    return ScrapeResponse(int(line[:3]), headers, body)


def by_asgi(registry: CollectorRegistry, method: str, query: str = "") -> ScrapeResponse:
    return ask_asgi(make_asgi_app(registry), method, "/x", query)


def ask_asgi(app: Any, method: str, path: str, query: str = "") -> ScrapeResponse:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    asyncio.run(app({**scope, "query_string": query.encode()}, None, send))
    start, *rest = told
    headers = [(name.decode().title(), value.decode("latin-1")) for name, value in start["headers"]]
    return ScrapeResponse(start["status"], headers, b"".join(part["body"] for part in rest))


def directly(registry: CollectorRegistry, method: str, query: str = "") -> ScrapeResponse:
    return scrape(registry, asked(method, query))


Ask = Callable[..., ScrapeResponse]
WAYS = [directly, by_wsgi, by_asgi]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def ask(request: pytest.FixtureRequest) -> Ask:
    way: Ask = request.param
    return way


@pytest.mark.parametrize(("method", "status"), METHODS)
def test_methods(ask: Ask, registry: CollectorRegistry, method: str, status: int) -> None:
    response = ask(registry, method)
    headers = dict(response.headers)
    assert response.status == status
    if status == 405:
        assert headers["Allow"] == "GET, HEAD"
        assert b"mine" not in response.body
    else:
        assert headers["Content-Type"].startswith(CONTENT_TYPE)
        assert headers["Vary"] == "Accept, Accept-Encoding"


def test_head_is_get_without_the_body(ask: Ask, registry: CollectorRegistry) -> None:
    full, head = ask(registry, "GET"), ask(registry, "HEAD")
    assert head.body == b""
    assert head.headers == full.headers
    assert dict(full.headers)["Content-Length"] == str(len(full.body))


@pytest.mark.parametrize(
    ("query", "access", "status"),
    [("match[]=%", None, 400), ("", lambda _: False, 403), ("", basic_auth("a", "b"), 401)],
    ids=("selector", "forbidden", "unauthorized"),
)
def test_head_has_no_body_where_it_is_refused(
    registry: CollectorRegistry, query: str, access: Any, status: int
) -> None:
    answers = [scrape(registry, asked(method, query), access) for method in ("GET", "HEAD")]
    full, head = answers
    assert [one.status for one in answers] == [status, status]
    assert full.body
    assert (head.body, head.headers) == (b"", full.headers)


def test_the_text_can_be_parsed_and_says_what_was_counted(
    ask: Ask, registry: CollectorRegistry
) -> None:
    Info("build", "Build.", registry=registry).info({"version": "1.0"})
    Gauge("up_to", "Help with a \\ and\na line break.", registry=registry).set(float("inf"))
    text = ask(registry, "GET").body.decode()
    samples = series(text)
    assert samples["mine_total", frozenset({("name", 'a\\b"c\nd\N{SNOWMAN}')})] == 3
    assert samples["up_to", frozenset()] == float("inf")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["up_to"].documentation == "Help with a \\ and\na line break."
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name[]=mine_total", {"mine_total"}),
        ("name%5B%5D=mine_total", {"mine_total"}),
        ("name[]=mine_total&name[]=other", {"mine_total", "other"}),
        ("name[]=nothing", set()),
        ("name[]=mine", {"mine_total", "mine_created"}),
        ("match[]=mine_total", {"mine_total"}),
        ("match[]={__name__=~%22mine.*|other%22}", {"mine_total", "mine_created", "other"}),
        ("match[]=mine_total{name=%22no%22}&match[]=other", {"other"}),
        ("match[]=mine_created&name[]=other", {"mine_created", "other"}),
        ("match[]=", None),
        ("name[]=", None),
        ("other=1", None),
        ("%ff%fe&&==", None),
        ("", None),
    ],
)
def test_names_select(
    ask: Ask, registry: CollectorRegistry, query: str, names: set[str] | None
) -> None:
    Gauge("other", "Other.", registry=registry)
    response = ask(registry, "GET", query)
    shown = {name for name, _ in series(response.body.decode())}
    assert response.status == 200
    assert shown == ({"mine_total", "mine_created", "other"} if names is None else names)


def test_a_broken_collector_is_left_out_and_counted(ask: Ask, registry: CollectorRegistry) -> None:
    registry.register(Broken())
    before = failures.counts().get("collector", 0)
    response = ask(registry, "GET")
    assert response.status == 200
    assert value(series(response.body.decode()), "mine_total") == 3
    assert b"no metrics today" not in response.body
    assert failures.counts()["collector"] == before + 1


def test_nothing_but_a_broken_collector_is_a_500(ask: Ask) -> None:
    registry = CollectorRegistry()
    registry.register(Broken())
    response = ask(registry, "GET")
    assert response.status == 500
    assert b"no metrics today" not in response.body
    assert dict(response.headers)["Content-Length"] == str(len(response.body))


def test_after_a_broken_collector_the_next_scrape_is_whole(registry: CollectorRegistry) -> None:
    broken, limits = Broken(), Limits(error_handling="http_error")
    registry.register(broken)
    response = scrape(registry, asked(), None, limits)
    assert response.status == 500
    assert b"test_scrape.Broken: RuntimeError: no metrics today" in response.body
    registry.unregister(broken)
    assert b"mine_total" in scrape(registry, asked(), None, limits).body


def test_our_own_collector_broken_shows_the_users_metrics(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prom_middleware.instrumentation.collector import RequestCollector

    PrometheusMiddleware(_app, registry=registry)
    monkeypatch.setattr(RequestCollector, "_collect", lambda self: 1 / 0)
    response = scrape(registry, asked())
    samples = series(response.body.decode())
    assert response.status == 200
    assert value(samples, "mine_total") == 3
    assert value(samples, "prom_middleware_errors_total", {"cause": "collect"}) >= 1


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"application"})


# --- at the door


@pytest.mark.parametrize(
    ("path", "status"),
    [("/metrics", 200), ("/metrics/", 200), ("/metrics//", 404), ("/metricsx", 404), ("/", 404)],
)
def test_the_door_answers_its_path_with_and_without_a_slash(
    registry: CollectorRegistry, path: str, status: int
) -> None:
    door = PrometheusMiddleware(_app, registry=registry)
    assert ask_asgi(door, "GET", path).status == status


@pytest.mark.parametrize("path", ["/internal/m", "/internal/m/"])
def test_the_path_can_be_chosen(registry: CollectorRegistry, path: str) -> None:
    door = PrometheusMiddleware(_app, registry=registry, metrics_path="/internal/m")
    assert ask_asgi(door, "GET", path).status == 200
    assert ask_asgi(door, "GET", "/metrics").status == 404


def test_the_path_can_be_nowhere(registry: CollectorRegistry) -> None:
    door = PrometheusMiddleware(_app, registry=registry, metrics_path=None)
    assert ask_asgi(door, "GET", "/metrics").body == b"application"


def test_a_scrape_is_counted_apart_and_not_in_itself(registry: CollectorRegistry) -> None:
    door = PrometheusMiddleware(_app, registry=registry)
    first = series(ask_asgi(door, "GET", "/metrics").body.decode())
    assert value(first, "prom_middleware_scrapes_total") == 0
    assert ask_asgi(door, "POST", "/metrics").status == 405
    samples = collected(registry)
    assert value(samples, "prom_middleware_scrapes_total", {"code": "200"}) == 1
    assert value(samples, "prom_middleware_scrapes_total", {"code": "405"}) == 1
    assert value(samples, "prom_middleware_scrape_duration_seconds_count") == 2
    assert value(samples, "http_requests_total") == 0
    assert value(samples, "http_requests_in_progress") == 0


def test_workers_are_shown(registry: CollectorRegistry) -> None:
    PrometheusMiddleware(_app, registry=registry)
    samples = collected(registry)
    assert value(samples, "prom_middleware_workers", {"state": "live"}) == 1
    assert value(samples, "prom_middleware_workers", {"state": "dead"}) == 0


def test_the_body_is_not_compressed_unasked(ask: Ask, registry: CollectorRegistry) -> None:
    body = ask(registry, "GET").body
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(body)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_the_asgi_application_speaks_the_other_protocols(kind: str) -> None:
    told: list[Any] = []
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        told.append(message["type"])

    asyncio.run(make_asgi_app(CollectorRegistry())({"type": kind}, receive, send))
    wanted = {
        "lifespan": ["lifespan.startup.complete", "lifespan.shutdown.complete"],
        "websocket": ["websocket.close"],
    }
    assert told == wanted[kind]


def test_lines_of_one_header_are_one_header() -> None:
    """As a WSGI server joins them; RFC 9110 section 5.2."""
    lines = [(b"Accept", b"text/plain;q=0.5"), (b"x", b"y"), (b"accept", b"*/*;q=0.1")]
    assert headers({"headers": lines}) == {"accept": "text/plain;q=0.5, */*;q=0.1", "x": "y"}


def test_what_middleware_adds_to_an_answer_is_in_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """WSGI gives the list of headers away (PEP 3333); sessions add their cookie to it."""
    app = make_wsgi_app(CollectorRegistry())
    told: list[Any] = []

    def start(status: str, headers: list[Any], exc_info: Any = None) -> None:
        told.append((status, [*headers]))
        headers.append(("Set-Cookie", f"session={len(told)}"))

    monkeypatch.setattr(scraping, "turns", None)  # nothing can be made any more
    for _ in range(2):
        app({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, start)
    assert told[0] == told[1]
    assert told[0][0] == "500 Internal Server Error"
