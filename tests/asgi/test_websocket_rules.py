"""The rules on websockets: handshake, close code, messages; never in the HTTP metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from copy import copy, deepcopy
from enum import Enum
from pickle import dumps, loads
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from asgi.driver import (
    Answer,
    Server,
    exchange,
    request,
    run,
    sending,
    websocket,
    websocket_scope,
)
from metrics import collected, value
from prom_middleware.asgi import PrometheusMiddleware

TEXT = {"type": "websocket.receive", "text": "hello"}
BYTES = {"type": "websocket.receive", "bytes": b"hello"}
ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "hello"}
CLOSE = {"type": "websocket.close"}
DENIED = {"type": "websocket.http.response.start", "status": 401, "headers": []}
DENIAL = {"type": "websocket.http.response.body", "body": b"no"}


class Code(int, Enum):
    """Codes of an application's own."""

    EMPTY = 4001


def leave(code: int) -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def check(registry: CollectorRegistry, answer: Answer, expected: Any) -> None:
    """Compare with (route, status, code, exception, messages in, messages out)."""
    route, status, code, exception, received, sent = expected
    samples = collected(registry)
    found = [
        (dict(labels)["route"], dict(labels)["status"], dict(labels)["code"])
        for (name, labels), count in samples.items()
        for _ in range(int(count))
        if name == "websocket_connections_total"
    ]
    assert found == [(route, str(status), "none" if code is None else str(code))]
    assert answer.raised == exception
    for direction, count in (("received", received), ("sent", sent)):
        labels = {"route": route, "direction": direction}
        assert value(samples, "websocket_messages_total", labels) == count
    assert value(samples, "websocket_messages_total") == received + sent
    if status == 101:
        durations = value(samples, "websocket_connection_duration_seconds_count", {"route": route})
        assert durations == 1
    assert value(samples, "websocket_connections_open") == 0
    assert not any(name.startswith("http_") and v for (name, _), v in samples.items())


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


async def reject(socket: WebSocket) -> None:
    await socket.close()


async def boom(socket: WebSocket) -> None:
    await socket.accept()
    raise ValueError("boom")


async def early(socket: WebSocket) -> None:
    raise ValueError("boom")


async def nothing(socket: WebSocket) -> None:
    pass


async def page(request: Request) -> Response:
    return PlainTextResponse("a page")


def starlette_app() -> Starlette:
    below = [WebSocketRoute("/ws/{r}", echo), Route("/page", page)]
    return Starlette(
        routes=[
            Route("/ws/{r}", page),
            WebSocketRoute("/ws/{r}", echo),
            WebSocketRoute("/rej", reject),
            WebSocketRoute("/boom", boom),
            WebSocketRoute("/early", early),
            WebSocketRoute("/none", nothing),
            Route("/page", page),
            Mount("/m", routes=below),
            Mount("/sub", Starlette(routes=below)),
        ]
    )


API = {"root_path": "/api"}

ROUTED = {
    "A76": ("/ws/1", [TEXT, leave(1000)], {}, ("/ws/{r}", 101, 1000, "", 1, 1)),
    "A77": ("/ws/1", [leave(1006)], {}, ("/ws/{r}", 101, 1006, "", 0, 0)),
    "A78": ("/rej", [], {}, ("/rej", 403, None, "", 0, 0)),
    "A79": ("/boom", [], {}, ("/boom", 101, 1011, "ValueError", 0, 0)),
    "A81": ("/none", [], {}, ("/none", 500, None, "", 0, 0)),
    "A82": ("/nope", [], {}, ("<unmatched>", 403, None, "", 0, 0)),
    "raises before the accept": ("/early", [], {}, ("/early", 500, None, "ValueError", 0, 0)),
    "several messages": ("/ws/1", [TEXT, TEXT, leave(1001)], {}, ("/ws/{r}", 101, 1001, "", 2, 2)),
    "code of its own": ("/ws/1", [leave(4001)], {}, ("/ws/{r}", 101, 4001, "", 0, 0)),
    "route for pages only": ("/page", [], {}, ("<unmatched>", 403, None, "", 0, 0)),
    "in a mount": ("/m/ws/1", [TEXT, leave(1000)], {}, ("/m/ws/{r}", 101, 1000, "", 1, 1)),
    "miss below a mount": ("/m/nope", [], {}, ("/m/{path}", 403, None, "", 0, 0)),
    "page below a mount": ("/m/page", [], {}, ("/m/{path}", 403, None, "", 0, 0)),
    "in a sub-application": ("/sub/ws/1", [leave(1000)], {}, ("/sub/ws/{r}", 101, 1000, "", 0, 0)),
    "root path": ("/api/ws/1", [leave(1000)], API, ("/ws/{r}", 101, 1000, "", 0, 0)),
    "root path, mount": ("/api/m/ws/1", [leave(1000)], API, ("/m/ws/{r}", 101, 1000, "", 0, 0)),
}


@pytest.mark.parametrize("case", ROUTED.values(), ids=ROUTED.keys())
def test_routes(registry: CollectorRegistry, case: Any) -> None:
    target, messages, scope, expected = case
    app = PrometheusMiddleware(starlette_app(), registry=registry)
    check(registry, websocket(app, target, *messages, **scope), expected)


def test_a_page_beside_a_websocket(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(starlette_app(), registry=registry)
    request(app, "/ws/1")
    websocket(app, "/ws/1", leave(1000))
    samples, route = collected(registry), {"route": "/ws/{r}"}
    assert value(samples, "http_requests_total", route) == 1
    assert value(samples, "websocket_connections_total", route) == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/ws/1", ("/ws/{r}", 101, 1000, "", 1, 1)),
        ("/v1/r1/ws/1", ("/v1/r1/ws/{r}", 101, 1000, "", 1, 1)),
        ("/v2/r1/ws/1", ("/v2/r1/ws/{r}", 101, 1000, "", 1, 1)),
        ("/nope", ("<unmatched>", 403, None, "", 0, 0)),
    ],
)
def test_fastapi(registry: CollectorRegistry, target: str, expected: Any) -> None:
    app, router = FastAPI(), APIRouter(prefix="/r1")
    app.websocket("/ws/{r}")(echo)
    router.websocket("/ws/{r}")(echo)
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    app = PrometheusMiddleware(app, registry=registry)
    check(registry, websocket(app, target, TEXT, leave(1000)), expected)


# Steps of the application after the connect, messages of the client, what is recorded.
RAW = {
    "application closes": ([ACCEPT, CLOSE], [], (101, 1000, "", 0, 0)),
    "application closes with a code": (
        [ACCEPT, {**CLOSE, "code": 4000}],
        [],
        (101, 4000, "", 0, 0),
    ),
    "application closes with a code that has a name": (
        [ACCEPT, {**CLOSE, "code": Code.EMPTY}],
        [],
        (101, 4001, "", 0, 0),
    ),
    "the first code counts": (
        [ACCEPT, {**CLOSE, "code": 4000}, None],
        [leave(1006)],
        (101, 4000, "", 0, 0),
    ),
    "the client's code first": (
        [ACCEPT, None, {**CLOSE, "code": 4000}],
        [leave(1001)],
        (101, 1001, "", 0, 0),
    ),
    "closed, then raises": ([ACCEPT, CLOSE, ValueError()], [], (101, 1000, "ValueError", 0, 0)),
    "left, then raises": (
        [ACCEPT, None, ValueError()],
        [leave(1001)],
        (101, 1001, "ValueError", 0, 0),
    ),
    "disconnect without a code": (
        [ACCEPT, None],
        [{"type": "websocket.disconnect"}],
        (101, 1005, "", 0, 0),
    ),
    "returns without a close": ([ACCEPT], [], (101, None, "", 0, 0)),
    "cancelled": (
        [ACCEPT, asyncio.CancelledError()],
        [],
        (101, 1011, "CancelledError", 0, 0),
    ),
    "SystemExit": ([ACCEPT, SystemExit()], [], (101, 1011, "SystemExit", 0, 0)),
    "cancelled before the accept": (
        [asyncio.CancelledError()],
        [],
        (500, None, "CancelledError", 0, 0),
    ),
    "denial response": ([DENIED, DENIAL], [], (401, None, "", 0, 0)),
    "denial response, then raises": ([DENIED, KeyError()], [], (401, None, "KeyError", 0, 0)),
    "closed before the accept, with a code": (
        [{**CLOSE, "code": 4003}],
        [],
        (403, None, "", 0, 0),
    ),
    "closed before the accept, then raises": (
        [CLOSE, ValueError()],
        [],
        (403, None, "ValueError", 0, 0),
    ),
    "bytes in, text out": (
        [ACCEPT, None, None, SEND, CLOSE],
        [BYTES, TEXT],
        (101, 1000, "", 2, 1),
    ),
    "denial response, then closes": ([DENIED, DENIAL, CLOSE], [], (401, None, "", 0, 0)),
    "left before the accept": ([None], [leave(1006)], (500, None, "", 0, 0)),
    "other messages": ([{"type": "websocket.x"}, ACCEPT, CLOSE], [], (101, 1000, "", 0, 0)),
}


@pytest.mark.parametrize("case", RAW.values(), ids=RAW.keys())
def test_raw_applications(registry: CollectorRegistry, case: Any) -> None:
    steps, messages, expected = case
    app = PrometheusMiddleware(sending(None, *steps), registry=registry)
    answer = websocket(app, "/any", *messages)
    check(registry, answer, ("<unmatched>", *expected))
    error = next((step for step in steps if isinstance(step, BaseException)), None)
    assert answer.error is error
    assert answer.sent == [step for step in steps if isinstance(step, dict)]


def test_a_message_that_was_not_sent_is_not_counted(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(sending(None, ACCEPT, SEND, SEND), registry=registry)
    script = [{"type": "websocket.connect"}]
    server = {"leaves_after": 2, "raises": True}

    async def main() -> Answer:
        return await exchange(app, websocket_scope("/any"), Server(script, leave(1006), **server))

    check(registry, asyncio.run(main()), ("<unmatched>", 101, 1011, "BrokenPipeError", 0, 1))


class Telling(Server):
    """A server that tells of the application's close before its `send` returns, as Granian does."""

    def __init__(self) -> None:
        super().__init__([{"type": "websocket.connect"}], leave(1005))
        self.told = asyncio.Event()

    async def receive(self) -> Any:
        if not self._script:
            await self.told.wait()
        return await super().receive()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.told.set()
            await asyncio.sleep(0.01)
        await super().send(message)


def test_the_applications_close_that_the_server_tells_of(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        listening = asyncio.ensure_future(receive())
        await send({**CLOSE, "code": 4001})
        assert await listening == leave(1005)

    door = PrometheusMiddleware(app, registry=registry)
    answer = run(door, websocket_scope("/any"), Telling)
    check(registry, answer, ("<unmatched>", 101, 4001, "", 0, 0))


def test_a_close_that_could_not_be_sent_is_none(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with suppress(OSError):
            await send({**CLOSE, "code": 4001})
        await receive()

    def server() -> Server:
        script = [{"type": "websocket.connect"}]
        return Server(script, leave(1006), leaves_after=1, raises=True)

    answer = run(PrometheusMiddleware(app, registry=registry), websocket_scope("/any"), server)
    check(registry, answer, ("<unmatched>", 101, 1006, "", 0, 0))


def test_open_while_it_is_open(registry: CollectorRegistry) -> None:
    seen: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (None, ACCEPT, SEND, CLOSE):
            await (receive() if message is None else send(message))
            seen.append(value(collected(registry), "websocket_connections_open"))

    websocket(PrometheusMiddleware(app, registry=registry), "/any")
    assert seen == [0, 1, 1, 0]


def test_messages_pass_as_they_are(registry: CollectorRegistry) -> None:
    received: list[Any] = []
    given = [dict(ACCEPT), dict(SEND), dict(CLOSE)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive(), await receive()])
        for message in given:
            await send(message)

    answer = websocket(PrometheusMiddleware(app, registry=registry), "/any", TEXT)
    assert received[1] is TEXT
    assert [id(message) for message in answer.sent] == [id(message) for message in given]


@pytest.mark.parametrize("target", ["/in/ws/1", "/in/nope"])
def test_nested_doors_record_once(registry: CollectorRegistry, target: str) -> None:
    inner = PrometheusMiddleware(starlette_app(), registry=registry)
    app = PrometheusMiddleware(Starlette(routes=[Mount("/in", inner)]), registry=registry)
    expected: Any = ("/in/ws/{r}", 101, 1000, "", 1, 1)
    if target.endswith("nope"):
        expected = ("/in/{path}", 403, None, "", 0, 0)
    check(registry, websocket(app, target, TEXT, leave(1000)), expected)


def test_a_deep_copy_of_the_scope_is_of_the_same_connection(registry: CollectorRegistry) -> None:
    inner = PrometheusMiddleware(starlette_app(), registry=registry)

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await inner(deepcopy(scope), receive, send)

    answer = websocket(PrometheusMiddleware(copying, registry=registry), "/ws/1", TEXT, leave(1000))
    check(registry, answer, ("/ws/{r}", 101, 1000, "", 1, 1))


def test_a_scope_can_be_pickled(registry: CollectorRegistry) -> None:
    app = starlette_app()

    async def pickling(scope: Any, receive: Any, send: Any) -> None:
        assert loads(dumps(scope))["path"] == "/ws/1"
        ours = [value for key, value in scope.items() if key.startswith("prom_middleware.")]
        assert [copy(value) for value in ours] == ours != []
        await app(scope, receive, send)

    answer = websocket(
        PrometheusMiddleware(pickling, registry=registry), "/ws/1", TEXT, leave(1000)
    )
    check(registry, answer, ("/ws/{r}", 101, 1000, "", 1, 1))


def test_two_registries_record_each(registry: CollectorRegistry) -> None:
    other = CollectorRegistry()
    inner = PrometheusMiddleware(starlette_app(), registry=other)
    answer = websocket(PrometheusMiddleware(inner, registry=registry), "/ws/1", TEXT, leave(1000))
    for each in (registry, other):
        check(each, answer, ("/ws/{r}", 101, 1000, "", 1, 1))


def test_excluded_paths(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(starlette_app(), registry=registry, exclude="/ws/1")
    websocket(app, "/ws/1", TEXT, leave(1000))
    samples = collected(registry)
    assert not any(name.startswith("websocket_") and v for (name, _), v in samples.items())


def test_a_websocket_on_the_metrics_path_is_the_applications(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(sending(None, ACCEPT, CLOSE), registry=registry)
    check(registry, websocket(app, "/metrics"), ("<unmatched>", 101, 1000, "", 0, 0))


def test_a_connection_that_is_accepted_twice_is_open_once() -> None:
    registry = CollectorRegistry()
    closing = {"type": "websocket.close", "code": 1000}
    websocket(PrometheusMiddleware(sending(ACCEPT, ACCEPT, closing), registry=registry), "/ws")
    assert value(collected(registry), "websocket_connections_open") == 0


def test_a_connection_that_is_accepted_after_the_end_is_not_open(
    registry: CollectorRegistry,
) -> None:
    """By a task that the application has left behind."""
    late: list[asyncio.Task[None]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def accept() -> None:
            await send(ACCEPT)

        late.append(asyncio.create_task(accept()))  # which runs when this has returned

    async def send(message: Any) -> None:
        """As hypercorn, which lets it pass."""

    async def main() -> None:
        door = PrometheusMiddleware(app, registry=registry)
        await door(websocket_scope("/ws"), lambda: asyncio.sleep(1), send)
        await late[0]

    asyncio.run(main())
    assert value(collected(registry), "websocket_connections_open") == 0
    assert value(collected(registry), "websocket_connections_total", {"status": "500"}) == 1
