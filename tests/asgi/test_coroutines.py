"""A door is a coroutine: however one ends, it is counted once, and nothing of it is left.

A server drives it step by step, and may close it, throw into it or drop it in the middle. Compiled,
these are not Python's own coroutines any more; and whoever calls it may look whether it makes one.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from types import TracebackType, coroutine
from typing import Any

import pytest
from asgiref.compatibility import guarantee_single_callable
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from asgi.driver import LAST, STARTED, Server, http_scope, request, run, websocket
from asgi.starlette_app import routes
from metrics import collected, in_progress, value
from prom_middleware import failures, instrument
from prom_middleware.asgi import PrometheusMiddleware

ROUNDS = 50


@coroutine
def pause() -> Generator[None, None, None]:
    yield


class OursError(Exception):
    """What the tests throw."""


async def receive() -> dict[str, Any]:
    await pause()
    return {"type": "http.request", "body": b"abc"}


async def send(message: dict[str, Any]) -> None:
    await pause()


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(STARTED)
    await send(LAST)


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise OursError("from the application")


def drive(door: Any, steps: int) -> Any:
    """Return a call of a door that has made so many steps; each message is one."""
    call = door(http_scope(), receive, send)
    for _ in range(steps):
        call.send(None)
    return call


def finishes(door: Any) -> None:
    call = drive(door, 3)
    with pytest.raises(StopIteration):
        call.send(None)


def closed_in(steps: int) -> Callable[[Any], None]:
    return lambda door: drive(door, steps).close()


def dropped_in(steps: int) -> Callable[[Any], None]:
    def drop(door: Any) -> None:
        drive(door, steps)

    return drop


def thrown_into(steps: int, error: type[BaseException]) -> Callable[[Any], None]:
    def throw(door: Any) -> None:
        call = drive(door, steps)
        with pytest.raises(error):
            call.throw(error("thrown"))

    return throw


def cancelled(door: Any) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(door(http_scope(), receive, never))
        while task not in waiting:
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    waiting: set[Any] = set()

    async def never(message: Any) -> None:
        waiting.add(asyncio.current_task())
        await asyncio.sleep(100)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


# How a call ends; the status that it is counted with, if at all; and the exception, if any.
ENDS: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "whole": (finishes, "200", ""),
    "never-begun": (closed_in(0), "", ""),
    "closed-in-receive": (closed_in(1), "500", "GeneratorExit"),
    "closed-in-start": (closed_in(2), "500", "GeneratorExit"),
    "closed-in-last": (closed_in(3), "200", "GeneratorExit"),
    "dropped-in-receive": (dropped_in(1), "500", "GeneratorExit"),
    "dropped-in-last": (dropped_in(3), "200", "GeneratorExit"),
    "thrown-into-receive": (thrown_into(1, OursError), "500", "OursError"),
    "thrown-into-start": (thrown_into(2, OursError), "500", "OursError"),
    "thrown-into-last": (thrown_into(3, KeyboardInterrupt), "200", "KeyboardInterrupt"),
    "cancelled": (cancelled, "500", "CancelledError"),
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", ENDS)
def test_it_is_counted_once_and_leaves_nothing(name: str) -> None:
    end, status, exception = ENDS[name]
    registry, before = CollectorRegistry(), failures.counts()
    door = PrometheusMiddleware(app, registry=registry)
    for _ in range(ROUNDS):
        end(door)
    samples = collected(registry)
    counted = ROUNDS if status else 0
    assert value(samples, "http_requests_total") == counted
    assert value(samples, "http_requests_total", {"status": status}) == counted
    raised = value(samples, "http_request_exceptions_total", {"exception": exception})
    assert raised == (ROUNDS if exception else 0)
    assert in_progress(registry) == 0
    assert failures.counts() == before
    assert growth(end, door) < ROUNDS


def growth(end: Callable[[Any], None], door: Any) -> int:
    """Return how many blocks of memory more there are after as many calls again."""
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        end(door)
    gc.collect()
    return sys.getallocatedblocks() - before


def test_a_server_knows_it_for_a_coroutine_function() -> None:
    door = PrometheusMiddleware(app, registry=CollectorRegistry())
    assert inspect.iscoroutinefunction(door.__call__)
    call = door(http_scope(), receive, send)
    assert asyncio.iscoroutine(call)
    call.close()


def test_the_traceback_shows_the_application_below_the_door() -> None:
    door = PrometheusMiddleware(failing, registry=CollectorRegistry())
    with pytest.raises(OursError, match="from the application") as caught:
        drive(door, 1)
    codes = [frame.tb_frame.f_code for frame in _frames(caught.value.__traceback__)]
    assert codes[-1].co_name == "failing"
    assert codes[-2].co_filename.endswith("prom_middleware/asgi/serving.py")
    assert caught.value.__context__ is None


def _frames(traceback: TracebackType | None) -> list[TracebackType]:
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


class Monitored:
    """Middleware that calls ASGI 3 through asgiref, as monitoring products do."""

    def __init__(self, app: Any) -> None:
        self.app = guarantee_single_callable(app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Looking(Monitored):
    """Middleware that looks itself, as Sentry's does, whether the application is one of ASGI 3."""

    def __init__(self, app: Any) -> None:
        self.app = app if inspect.iscoroutinefunction(app.__call__) else self.second(app)

    def second(self, app: Any) -> Any:
        return lambda scope, receive, send: app(scope)(receive, send)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@pytest.mark.parametrize("innermost", [Monitored, Looking, OpenTelemetryMiddleware])
def test_what_stands_innermost_takes_it_for_asgi_3(innermost: Callable[..., Any]) -> None:
    """What asks for the route stands between the last middleware and the router."""
    registry, began = CollectorRegistry(), []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        began.append(app)
        yield

    inside = [*routes(), WebSocketRoute("/echo", echo)]
    app = Starlette(routes=inside, middleware=[Middleware(innermost)], lifespan=lifespan)
    door = instrument(app, registry=registry)
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    script = [{"type": "lifespan.startup"}]
    assert not run(door, scope, lambda: Server(script, {"type": "lifespan.shutdown"})).raised
    assert began == [app]
    assert request(door, "/users/3").status == 200
    sent = websocket(door, "/echo", {"type": "websocket.receive", "text": "x"}).sent
    assert {"type": "websocket.send", "text": "x"} in sent
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"route": "/users/{id}", "status": "200"}) == 1
    assert value(samples, "websocket_connections_total", {"route": "/echo", "status": "101"}) == 1
