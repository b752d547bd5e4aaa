"""The least that a middleware can cost: passing on, a timer, and what records by route.

The recorder keeps what a request has to be counted by, in one block of numbers for each label set,
and cares for nothing else: no client that leaves, no error, no thread, no failure of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Histogram:
    """Bucket counts and a sum: no lock, no labels."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def count(self) -> int:
        """Return the number of values."""
        return sum(self.counts)


# Where a recorder's block has the sum of the latencies and the bytes of the bodies.
SUM = len(BOUNDS) + 1
SENT, RECEIVED = SUM + 1, SUM + 2


class Recorder:
    """Latencies, bytes and the requests in progress, by method, route and status."""

    def __init__(self) -> None:
        self.running: dict[str, int] = defaultdict(int)
        self.blocks: dict[tuple[str, str, int], list[float]] = defaultdict(
            lambda: [0] * (RECEIVED + 1)
        )

    def count(self) -> int:
        """Return the number of requests."""
        return int(sum(sum(block[:SUM]) for block in self.blocks.values()))


class PassASGI:
    """Pass a request on."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class TimedASGI(Histogram):
    """Wrap `send`, and take the time after the last body message."""

    def __init__(self, app: Any) -> None:
        super().__init__()
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start = perf_counter()

        async def timed_send(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                seconds = perf_counter() - start
                self.counts[bisect_left(BOUNDS, seconds)] += 1
                self.sum += seconds

        await self.app(scope, receive, timed_send)


class RecordedASGI(Recorder):
    """Wrap both ways, and record after the last body message; `routes` names the endpoints."""

    def __init__(self, app: Any, routes: Mapping[Any, str]) -> None:
        super().__init__()
        self.app, self.routes = app, routes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        method, status, sent, received = scope["method"], 0, 0, 0
        self.running[method] += 1
        start = perf_counter()

        async def counted_receive() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def recorded_send(message: Any) -> None:
            nonlocal status, sent
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
                return
            sent += len(message["body"])
            if not message.get("more_body", False):
                seconds = perf_counter() - start
                self.running[method] -= 1
                block = self.blocks[method, self.routes[scope.get("endpoint")], status]
                block[bisect_left(BOUNDS, seconds)] += 1
                block[SUM] += seconds
                block[SENT] += sent
                block[RECEIVED] += received

        await self.app(scope, counted_receive, recorded_send)


class PassWSGI:
    """Pass a request on."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class TimedWSGI(Histogram):
    """Wrap the iterable, and take the time at its end."""

    def __init__(self, app: Any) -> None:
        super().__init__()
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        start = perf_counter()
        return self._timed(self.app(environ, start_response), start)

    def _timed(self, body: Any, start: float) -> Iterator[bytes]:
        try:
            yield from body
        finally:
            if hasattr(body, "close"):
                body.close()
            seconds = perf_counter() - start
            self.counts[bisect_left(BOUNDS, seconds)] += 1
            self.sum += seconds


def pass_request(request_class: Any) -> Any:
    """Return a class of Twisted requests that pass on what our door has to know of."""

    class PassRequest(request_class):
        def process(self) -> None:
            super().process()

        def finish(self) -> None:
            super().finish()

    return PassRequest


def timed_request(request_class: Any, histogram: Histogram) -> Any:
    """Return a class of Twisted requests that are timed from `process` to `finish`."""

    class TimedRequest(request_class):
        def process(self) -> None:
            self.started_at = perf_counter()
            super().process()

        def finish(self) -> None:
            super().finish()
            seconds = perf_counter() - self.started_at
            histogram.counts[bisect_left(BOUNDS, seconds)] += 1
            histogram.sum += seconds

    return TimedRequest
