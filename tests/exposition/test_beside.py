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
