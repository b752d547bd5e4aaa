"""What clients make up costs nothing: neither series nor memory."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import sending, websocket
from failsafe_apps import Request
from failsafe_doors import INSTALLED
from metrics import collected, value
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.stores import MemoryStore

# Each line of them was covered by the first request, and to notice that takes longer than they do.
pytestmark = pytest.mark.no_cover

REQUESTS = int(os.environ.get("PROM_MIDDLEWARE_EXACT", "100000"))
AT_EACH_DOOR = max(100, REQUESTS // 125)
MOST_BYTES = 5_000_000  # of growth over all those requests
MOST_BYTES_PER_LABEL_SET = 600


async def app(scope: Any, receive: Any, send: Any) -> None:
    status = 404 if scope["path"] != "/" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def _no_message() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _drop(_: Any) -> None:
    """Send nowhere."""


async def serve(door: Any, scopes: Iterator[dict[str, Any]]) -> None:
    send: Callable[[Any], Awaitable[None]] = _drop
    for scope in scopes:
        await door(scope, _no_message, send)


def scopes(number: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    bits = random.Random(seed).getrandbits
    for _ in range(number):
        word = f"{bits(64):016x}"
        yield {
            "type": "http",
            "method": ("GET", "POST", word, word.upper())[bits(2)],
            "path": f"/{word}/{bits(64):x}",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", word.encode()), (b"x-" + word.encode(), b"x")],
        }


def grown(door: Any, number: int) -> int:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        asyncio.run(serve(door, scopes(number, seed=8)))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@pytest.mark.timeout(300)
def test_random_requests_make_no_series_and_keep_no_memory() -> None:
    registry = CollectorRegistry()
    door = PrometheusMiddleware(app, registry=registry)
    asyncio.run(serve(door, scopes(1000)))
    series = len(collected(registry))
    assert grown(door, REQUESTS) < MOST_BYTES
    samples = collected(registry)
    assert len(samples) == series
    assert value(samples, "http_requests_total") == REQUESTS + 1000
    assert value(samples, "http_requests_total", {"route": "<unmatched>"}) == REQUESTS + 1000
    assert value(samples, "http_requests_in_progress") == 0


def invented(number: int, seed: int) -> Iterator[Request]:
    bits = random.Random(seed).getrandbits
    for _ in range(number):
        word = f"{bits(64):016x}"
        yield Request(
            path=(f"/{word}", f"/items/{bits(30)}", f"/items/{word}", f"/items/3/{word}")[bits(2)],
            method=("GET", "POST", word, word.upper())[bits(2)],
            headers=((b"host", word.encode()),),
            query=word,
        )


@pytest.mark.parametrize("door", INSTALLED)
def test_random_requests_make_no_series_at_any_door(door: str) -> None:
    registry, place = CollectorRegistry(), INSTALLED[door]
    client = place.build({"registry": registry}, 1)
    series: set[Any] = set()
    for seed, number in enumerate((200, AT_EACH_DOOR)):
        for request in invented(number, seed):
            client(request)
        samples = collected(registry)
        assert not series or set(samples) == series
        series = set(samples)
    assert value(samples, "http_requests_total") == 200 + AT_EACH_DOOR
    assert value(samples, "http_requests_in_progress") == 0


@pytest.mark.timeout(300)
def test_a_careless_label_is_limited() -> None:
    """Label values from the client, one after the other, end in the overflow series."""
    registry, number, most = CollectorRegistry(), REQUESTS // 5, 100
    labels: dict[str, Any] = {"host": lambda facts: facts.headers["host"]}
    door = PrometheusMiddleware(app, registry=registry, labels=labels, max_series=most)
    asyncio.run(serve(door, scopes(most * 2)))
    series = len(collected(registry))
    assert grown(door, number) < MOST_BYTES
    samples = collected(registry)
    assert len(samples) == series
    total = number + most * 2
    over = value(samples, "http_requests_total", {"host": "<overflow>"})
    assert value(samples, "http_requests_total") == total
    assert over == total - most
    counted = {"metric": "http_requests_total"}
    assert value(samples, "prom_middleware_series_overflow_total", counted) == over


def test_a_limit_that_is_raised_is_one_of_real_label_sets() -> None:
    registry = CollectorRegistry()
    labels: dict[str, Any] = {"path": lambda facts: facts.path}
    (one,) = scopes(1)
    for most, paths in ((1, "ab"), (3, "cde")):
        door = PrometheusMiddleware(app, registry=registry, labels=labels, max_series=most)
        asyncio.run(serve(door, ({**one, "path": f"/{path}"} for path in paths)))
    samples = collected(registry)
    shown = {path: value(samples, "http_requests_total", {"path": path}) for path in LIMITED}
    assert shown == LIMITED


LIMITED = {"/a": 1, "<overflow>": 2, "/c": 1, "/d": 1}
ACCEPT = {"type": "websocket.accept"}


def closing(code: int) -> Any:
    return sending(ACCEPT, {"type": "websocket.close", "code": code})


def test_a_client_makes_no_series_with_the_codes_that_it_closes_with() -> None:
    """The first of its own keep their number, those of the protocol and the application all do."""
    registry = CollectorRegistry()
    door = PrometheusMiddleware(sending(ACCEPT, None, None), registry=registry)
    of_protocol = {1000, 1001, 1006, 1015}
    of_client = range(4999, 2999, -1)
    for code in (*of_client, *of_protocol, *of_client[:16]):
        websocket(door, "/ws", {"type": "websocket.disconnect", "code": code})
    samples, name = collected(registry), "websocket_connections_total"
    found = {dict(labels)["code"]: n for (each, labels), n in samples.items() if each == name}
    kept = {str(code): 2 for code in of_client[:16]}
    assert found == kept | {str(code): 1 for code in of_protocol} | {"_OTHER": 2000 - 16}


def test_the_codes_that_the_application_closes_with_keep_their_number() -> None:
    registry, codes = CollectorRegistry(), range(4000, 4100)
    for code in codes:
        websocket(PrometheusMiddleware(closing(code), registry=registry), "/ws")
    samples = collected(registry)
    for code in codes:
        assert value(samples, "websocket_connections_total", {"code": str(code)}) == 1


def test_a_label_set_costs_little() -> None:
    """Bytes in the store for each label set of requests, with the default buckets."""
    registry, number = CollectorRegistry(), 1000
    door = PrometheusMiddleware(app, registry=registry, max_series=number + 1)
    recorder: Any = door._core.recorder
    series, store = recorder.series.requests, recorder.store
    assert isinstance(store, MemoryStore)
    names = [("GET", f"/route/{index}", "200") for index in range(number)]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        for labels in names:
            offset = series.offset(labels)
            for cell in (0, 1, series.first):
                store.cells[offset + cell] += 1.5
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / number <= MOST_BYTES_PER_LABEL_SET
