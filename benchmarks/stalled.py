"""A server to be scraped: `python -m benchmarks.stalled ours|theirs SERIES`, prints its port.

The application answers the same small body to everything but /metrics, and to /beat and /rest,
which start and end the watch over the event loop. The watch is a task that wakes up each
millisecond: what it wakes up later is how long the loop stood still. That also has what other
programs, and other machines on the same host, took of the processor meanwhile. What can be this
process's own doing is the smaller one of two bounds: what is left after the time for which one of
its threads, the one that waited most, was ready to run and had no processor; and the time of a
processor that it used, all threads together.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter, process_time
from typing import Any

import prometheus_client
import uvicorn

from benchmarks import traffic
from benchmarks.registries import recorded
from prom_middleware.asgi import PrometheusMiddleware

BEAT = 0.001
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(traffic.BODY)),
]


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answer a small body."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": traffic.BODY})


class Waits:
    """How long the threads of this process were ready to run, and had no processor.

    The second number of https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def longest(self) -> float:
        """Return the seconds of the thread that waited most since the last call; 0 if unknown."""
        before, self._seen = self._seen, {}
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError), open(f"/proc/self/task/{thread}/schedstat") as file:
                self._seen[thread] = int(file.read().split()[1])
        waited = (since - before.get(thread, 0) for thread, since in self._seen.items())
        return max(waited, default=0) / 1e9


class Watch:
    """An application that answers for the watch, and leaves the rest to another one."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._task: asyncio.Task[None] | None = None
        self._gaps: list[tuple[float, float]] = []
        self._waits = Waits()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            return
        path = scope["path"]
        if path == "/beat":
            self._gaps = []
            self._task = asyncio.ensure_future(self._beat())
            await page(scope, receive, send)
        elif path == "/rest":
            await self._rest(send)
        else:
            await self.app(scope, receive, send)

    async def _beat(self) -> None:
        self._waits.longest()
        wall, used = perf_counter(), process_time()
        while True:
            await asyncio.sleep(BEAT)
            late, worked = perf_counter() - wall - BEAT, process_time() - used
            self._gaps.append((late, min(worked, late - min(self._waits.longest(), late))))
            wall, used = perf_counter(), process_time()

    async def _rest(self, send: Any) -> None:
        assert self._task is not None
        self._task.cancel()
        walls, own = zip(*self._gaps, strict=True)
        said = {"wall": max(walls), "own": max(own), "beats": len(walls)}
        body = json.dumps(said).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def ours(series: int) -> Any:
    """Return the application in our door, which has recorded so much."""
    registry, _ = recorded(series)
    return PrometheusMiddleware(page, registry=registry, max_series=series)


def theirs(series: int) -> Any:
    """Return the application beside the one of `prometheus_client`; its requests are not timed."""
    _, registry = recorded(series)
    metrics = prometheus_client.make_asgi_app(registry)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (metrics if scope["path"] == "/metrics" else page)(scope, receive, send)

    return app


def main() -> None:
    """Serve."""
    make = {"ours": ours, "theirs": theirs}[sys.argv[1]]
    serve(Watch(make(int(sys.argv[2]))), str)


def serve(app: Any, told: Callable[[int], str]) -> None:
    """Serve an application, and print what is `told` of its port."""
    gc.collect()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        print(told(listening.getsockname()[1]), flush=True)
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
