"""What a scrape costs: `python -m benchmarks.exposition PART`, figures as JSON.

Both sides are called as a WSGI server calls them, with the same headers, from the call to the last
byte of the answer: our `make_wsgi_app` and that of `prometheus_client`, in turns in one process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry

from benchmarks import parts, stalls, traffic
from benchmarks.figures import Figure
from benchmarks.registries import LINES, counts, recorded, scraping, taking, users
from benchmarks.rounds import interleaved
from prom_middleware.exposition import make_asgi_app, make_wsgi_app

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    series: int = 15_000
    rounds: int = 21
    many: int = 160_000
    many_rounds: int = 7
    users: int = 10_000
    large: int = 100_000  # for memory and stalls
    phases: int = 9
    phase: float = 3.0  # seconds


SMALL = Size(400, 2, 800, 2, 250, 1_000, 1, 0.5)

Figures = dict[str, Any]


def main() -> None:
    """Measure one part, and print the figures."""
    options = parts.options("exposition", "part", PARTS)
    size = SMALL if options.quick else Size()
    json.dump({"size": asdict(size), **PARTS[options.part](size)}, sys.stdout)


def text(size: Size) -> Figures:
    """Scrape the requests as text."""
    return {
        "usual": _pair(size.series, size.rounds, accept=TEXT),
        "many": _pair(size.many, size.many_rounds, accept=TEXT),
    }


def compressed(size: Size) -> Figures:
    """Scrape the requests as text, with gzip."""
    return {"gzip": _pair(size.series, size.rounds, accept=TEXT, accept_encoding="gzip")}


def _pair(series: int, rounds: int, **headers: str) -> Figures:
    mine, other = recorded(series)
    _check_requests(mine, other, series)
    return _compare(mine, other, rounds, **headers)


def _check_requests(mine: CollectorRegistry, other: CollectorRegistry, series: int) -> None:
    """Raise AssertionError unless both show the same requests, and as many series as they should.

    We show more, about ourselves.
    """
    _, ours = scraping(make_wsgi_app(mine), accept=TEXT)()
    _, theirs = scraping(prometheus_client.make_wsgi_app(other), accept=TEXT)()
    missing = counts(theirs) - counts(ours)
    assert not missing, sorted(missing)[:3]
    lines = [line for line in theirs.splitlines() if not line.startswith(b"#")]
    assert series <= len(lines) < series + LINES, len(lines)


def _compare(
    mine: CollectorRegistry, other: CollectorRegistry, rounds: int, **headers: str
) -> Figures:
    apps = {"ours": make_wsgi_app(mine), "theirs": prometheus_client.make_wsgi_app(other)}
    sent = {name: _sent(app, headers) for name, app in apps.items()}
    _settle()
    seconds = interleaved(rounds, **{name: taking(app, **headers) for name, app in apps.items()})
    return {**{name: asdict(Figure.of(each)) for name, each in seconds.items()}, "bytes": sent}


def _sent(app: Any, asked: dict[str, str]) -> int:
    """Return how many bytes an answer has; what was asked for is what came, or it is void."""
    headers, body = scraping(app, **asked)()
    kind = asked["accept"].partition(";")[0]
    assert headers["content-type"].startswith(kind), headers
    coding = asked.get("accept_encoding", "identity")
    assert headers.get("content-encoding", "identity") == coding, headers
    return len(body)


def _settle() -> None:
    # What was recorded so far is no garbage of scrapes, and of both sides: nobody pays for it.
    gc.collect()
    gc.freeze()


def user_metrics(size: Size) -> Figures:
    """Scrape a user's own metrics, which are the same objects for both."""
    registry = users(size.users)
    figures = _compare(registry, registry, size.rounds, accept=TEXT)
    _, body = scraping(make_wsgi_app(registry), accept=TEXT)()
    lines = [line for line in body.splitlines() if not line.startswith(b"#")]
    assert len(lines) == size.users, len(lines)
    return {"users": figures}


def formats(size: Size) -> Figures:
    """Scrape in each format that we have; they have text and OpenMetrics."""
    mine, other = recorded(size.series)
    apps: dict[str, tuple[Any, str]] = {}
    for name, kind in (("text", TEXT), ("OpenMetrics", OPENMETRICS), ("protobuf", PROTOBUF)):
        apps[f"ours, {name}"] = make_wsgi_app(mine), kind
        if kind != PROTOBUF:
            apps[f"theirs, {name}"] = prometheus_client.make_wsgi_app(other), kind
    sent = {name: _sent(app, {"accept": kind}) for name, (app, kind) in apps.items()}
    _settle()
    called = {name: taking(app, accept=kind) for name, (app, kind) in apps.items()}
    seconds = interleaved(size.rounds, **called)
    return {
        "formats": {name: asdict(Figure.of(each)) for name, each in seconds.items()},
        "bytes": sent,
    }


def memory(size: Size) -> Figures:
    """Return the peak of a scrape's memory over the bytes that it sends, which nobody keeps."""
    mine, other = recorded(size.large)
    called = {
        "ours, WSGI": taking(make_wsgi_app(mine)),
        "ours, ASGI": _asgi(make_asgi_app(mine)),
        "theirs, WSGI": taking(prometheus_client.make_wsgi_app(other)),
    }
    # The first scrape makes what later ones find made; both are scrapes.
    return {"peaks": {name: [_peak(call) for _ in range(2)] for name, call in called.items()}}


def _peak(call: Callable[[], int]) -> dict[str, int]:
    gc.collect()
    tracemalloc.start()
    sent = call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"peak": peak, "sent": sent}


def _asgi(app: Any) -> Callable[[], int]:
    scope = {**traffic.scope("/metrics"), "query_string": b"", "headers": []}

    async def scrape() -> int:
        sent = [0]

        async def send(message: Any) -> None:
            sent[0] += len(message.get("body", b""))

        await app(dict(scope), traffic.receiver(), send)
        return sent[0]

    return lambda: asyncio.run(scrape())


def event_loop(size: Size) -> Figures:
    """Scrape a server once a second, and look how long its event loop stands still."""
    return stalls.measure(size.large, size.phases, size.phase)


PARTS: dict[str, Callable[[Size], Figures]] = {
    "text": text,
    "compressed": compressed,
    "user_metrics": user_metrics,
    "formats": formats,
    "memory": memory,
    "event_loop": event_loop,
}


if __name__ == "__main__":
    main()
