"""ASGI frameworks whose matching is not counted: called as the others are, and by a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Any

from starlette.routing import BaseRoute, Match
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks import traffic
from benchmarks.doors.asgi import LOOP, Bench, Drive, Make, called, fastapi_app, starlette_app
from benchmarks.matching import Stopwatch
from benchmarks.rounds import Case


class Passed(BaseRoute):
    """Match nothing, and tell that the matching has come so far."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def matches(self, scope: Any) -> tuple[Match, dict[str, Any]]:
        """Match nothing."""
        self._tell()
        return Match.NONE, {}


class Strangers(BaseRoute):
    """Try other routes, and match nothing."""

    def __init__(self, others: Sequence[BaseRoute]) -> None:
        self._others = others

    def matches(self, scope: Any) -> tuple[Match, dict[str, Any]]:
        """Match nothing."""
        for route in self._others:
            route.matches(scope)
        return Match.NONE, {}


def starlette(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Starlette."""
    return list(_cases(starlette_app, routes, called))


def fastapi(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of FastAPI."""
    return list(_cases(fastapi_app, routes, called))


def starlette_served(routes: tuple[int, ...]) -> list[Case]:
    """Return the cases of Starlette under uvicorn."""
    return list(_cases(starlette_app, routes, served))


def _cases(make: Callable[[int], Any], routes: tuple[int, ...], drive: Drive) -> Iterator[Case]:
    for number in routes:
        yield _case(partial(make, number), number, drive)
    yield _case(partial(make, max(routes)), max(routes), drive, Strangers)


def _case(make: Make, routes: int, drive: Drive, hide: type[Strangers] | None = None) -> Case:
    watch = Stopwatch()

    def app() -> Any:
        framework = make()
        framework.router.routes[:] = watch.around(framework.routes, Passed, hide)
        return framework

    bench = Bench(app, routes, routed=True, drive=lambda *app: watch.without(drive(*app)))
    case = bench.case(lambda _: iter(()), traffic.template(routes - 1))
    return case if hide is None else replace(case, routes=1, strangers=routes - 1)


class Connection(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 52114)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep `data`."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Tell that it is open."""
        return False


def served(app: Any, path: str) -> Callable[[int], float]:
    """Return what has uvicorn serve an application, from the bytes of requests to those of answers.

    All of a server but the sockets, whose system calls would be most of the noise.
    """
    config = Config(app, interface="asgi3", lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol, connection = HttpToolsProtocol(config, ServerState(), {}, LOOP), Connection()
    protocol.connection_made(connection)
    request = traffic.raw(path)

    async def drive(number: int) -> float:
        start = process_time()
        for _ in range(number):
            connection.written.clear()
            protocol.data_received(request)
            while not protocol.cycle.response_complete:
                await asyncio.sleep(0)
        seconds = process_time() - start
        answer = b"".join(connection.written)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert answer.endswith(b"\r\n\r\n" + traffic.BODY), answer
        return seconds

    return lambda number: LOOP.run_until_complete(drive(number))
