"""Scrapes beside an event loop: it goes on, whichever it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from prom_middleware.exposition import make_asgi_app
from prom_middleware.exposition.beside import beside

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


class Waits:
    """A collector that is held up until the loop has let it go."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.begun.set()
        assert self.open.wait(60)
        yield GaugeMetricFamily("waited", "Waited.", value=1)


def prepared() -> tuple[Waits, Any, list[Any]]:
    registry, waits = CollectorRegistry(), Waits()
    registry.register(waits)
    return waits, make_asgi_app(registry), []


def check(told: list[Any]) -> None:
    assert told[0]["status"] == 200
    assert b"waited 1.0" in b"".join(message["body"] for message in told[1:])


def test_asyncio_goes_on() -> None:
    async def main() -> None:
        waits, app, told = prepared()

        async def send(message: Any) -> None:
            told.append(message)

        scrape = asyncio.create_task(app(SCOPE, None, send))
        while not waits.begun.is_set():
            await asyncio.sleep(0)
        waits.open.set()
        await scrape
        check(told)

    asyncio.run(main())


class Large:
    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("large", "Large.", labels=["number"])
        for number in range(10_000):
            family.add_metric([f"{number:030}"], number)
        yield family


class Turns:
    """Count the turns of a loop, up to each part of an answer that no client holds up."""

    def __init__(self) -> None:
        self.number, self.seen = 0, list[int]()

    async def count(self, sleep: Any) -> None:
        while True:
            self.number += 1
            await sleep(0)

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.seen.append(self.number)

    def check(self) -> None:
        assert len(self.seen) > 5
        # Trio shuffles who comes first in a turn.
        assert self.seen[-1] - self.seen[0] >= len(self.seen) - 2


def large() -> Any:
    registry = CollectorRegistry()
    registry.register(Large())
    return make_asgi_app(registry)


def test_asyncio_turns_between_the_parts() -> None:
    turns = Turns()

    async def main() -> None:
        counting = asyncio.create_task(turns.count(asyncio.sleep))
        await large()(SCOPE, None, turns.send)
        counting.cancel()

    asyncio.run(main())
    turns.check()


def test_trio_turns_between_the_parts() -> None:
    trio = pytest.importorskip("trio")
    turns = Turns()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.count, trio.sleep)
            await large()(SCOPE, None, turns.send)
            nursery.cancel_scope.cancel()

    trio.run(main)
    turns.check()


def test_a_scrape_that_is_cancelled_is_no_harm() -> None:
    async def main() -> None:
        waits, app, told = prepared()

        async def send(message: Any) -> None:
            told.append(message)

        scrape = asyncio.create_task(app(SCOPE, None, send))
        while not waits.begun.is_set():
            await asyncio.sleep(0)
        scrape.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scrape
        waits.open.set()
        await app(SCOPE, None, send)
        check(told)

    asyncio.run(main())


def test_trio_goes_on() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        waits, app, told = prepared()

        async def send(message: Any) -> None:
            told.append(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(app, SCOPE, None, send)
            while not waits.begun.is_set():
                await trio.lowlevel.checkpoint()
            waits.open.set()
        check(told)

    trio.run(main)


def test_without_a_loop_it_is_called_at_once() -> None:
    with pytest.raises(StopIteration) as end:
        beside(lambda: 42).send(None)
    assert end.value.value == 42
