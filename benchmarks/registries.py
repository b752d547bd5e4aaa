"""The same requests, recorded by our door and by `prometheus_client`; and a user's own metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from benchmarks import traffic
from benchmarks.limits import BOUNDS
from benchmarks.memory import SPREAD, ours

_Taken = TypeVar("_Taken")
LABELS = ("method", "route", "status")
# Buckets, sum, count and three counters: what each label set shows.
LINES = len(BOUNDS) + 1 + 2 + 3
DURATION = "Time from the request's arrival in the application to the last byte of the response."
COUNTERS = (
    ("http_requests_total", "Requests that were answered, or given up by one side.", 1),
    ("http_request_body_bytes_total", "Bytes of request bodies that were received.", 1500),
    ("http_response_body_bytes_total", "Bytes of response bodies that were sent.", 70_000),
)


def recorded(series: int) -> tuple[CollectorRegistry, CollectorRegistry]:
    """Return our registry and theirs, each with at least so many series of the same requests.

    `prometheus_client` also has the time of a series' creation, as a family of its own; that is
    left out, since the text format has no such thing, and we show none in it.
    """
    prometheus_client.disable_created_metrics()
    routes = [traffic.template(number) for number in range(-(-series // LINES))]
    registry, _ = ours(routes, SPREAD)
    return registry, theirs(routes)


def theirs(routes: list[str]) -> CollectorRegistry:
    """Record the same with `prometheus_client`."""
    registry = CollectorRegistry()
    duration = Histogram(
        "http_request_duration_seconds", DURATION, LABELS, registry=registry, buckets=BOUNDS
    )
    counters = [
        (Counter(name, text, LABELS, registry=registry), amount) for name, text, amount in COUNTERS
    ]
    for route in routes:
        labels = ("POST", route, "200")
        for seconds in SPREAD:
            duration.labels(*labels).observe(seconds)
            for counter, amount in counters:
                counter.labels(*labels).inc(amount)
    return registry


def users(series: int) -> CollectorRegistry:
    """Return a user's own metrics: two thirds of the series in histograms, the rest by halves."""
    prometheus_client.disable_created_metrics()
    registry = CollectorRegistry()
    jobs = Histogram("job_seconds", "Time of a job.", ["queue", "job"], registry=registry)
    histograms = series * 17 // 25 // 17
    for number in range(histograms):
        for seconds in SPREAD:
            jobs.labels("default", f"job{number}").observe(seconds)
    rest = series - histograms * 17
    orders = Counter("orders", "Orders.", ["shop", "article"], registry=registry)
    stock = Gauge("stock_pieces", "Pieces in stock.", ["shop", "article"], registry=registry)
    for number in range(rest // 2):
        orders.labels("north", f"article{number}").inc(number)
        stock.labels("north", f"article{number}").set(number / 7)
    return registry


def counts(body: bytes) -> set[bytes]:
    """Return the lines of a text whose numbers do not depend on how long anything took."""
    return {
        line
        for line in body.splitlines()
        if line.partition(b"{")[0].endswith((b"_total", b"_count"))
    }


def scraping(app: Any, **headers: str) -> Callable[[], tuple[dict[str, str], bytes]]:
    """Return a function that scrapes a WSGI application, and returns (headers, body)."""
    environ = _environ(headers)

    def scrape() -> tuple[dict[str, str], bytes]:
        fields, pieces = _called(app, dict(environ), b"".join)
        return {name.lower(): value for name, value in fields}, pieces

    return scrape


def taking(app: Any, **headers: str) -> Callable[[], int]:
    """Return a function that scrapes as a server does, which keeps no piece: how many bytes came.

    To join them, of those who give more than one, costs half as much again as a large scrape.
    """
    environ = _environ(headers)
    return lambda: _called(app, dict(environ), lambda body: sum(map(len, body)))[1]


def _environ(headers: dict[str, str]) -> dict[str, Any]:
    environ = traffic.environ("/metrics")
    environ = {key: value for key, value in environ.items() if not key.startswith("HTTP_")}
    given = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {**environ, "QUERY_STRING": "", **given}


def _called(
    app: Any, environ: dict[str, Any], take: Callable[[Iterable[bytes]], _Taken]
) -> tuple[list[tuple[str, str]], _Taken]:
    told: list[Any] = []
    body = app(environ, lambda *start: told.append(start))
    taken = take(body)
    if hasattr(body, "close"):
        body.close()
    ((status, fields),) = told
    assert status == "200 OK", status
    return fields, taken
