"""The rules on Starlette's errors, streams, background tasks and middleware."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import pytest
import starlette.responses
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
    requires,
)
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from asgi.driver import (
    BODY,
    END,
    LAST,
    STARTED,
    Server,
    check,
    http_scope,
    request,
    row,
    run,
)
from asgi.starlette_app import routes
from metrics import collected, in_progress, value
from prom_middleware.asgi import PrometheusMiddleware

GET = "GET"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@row("A30", (GET, "/boom", 500, "", "complete"))
def test_outermost_sees_the_500_and_the_error(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    assert request(app, "/boom").raised == "ValueError"
    check(registry, expected, "ValueError")


async def unavailable(request: Request, error: Exception) -> Response:
    return PlainTextResponse("sorry", 503)


@row("A31", (GET, "/boom", 500, "ValueError", "error"))
def test_inner_cannot_see_the_handlers_status(registry: CollectorRegistry, expected: Any) -> None:
    app = Starlette(routes=routes(), exception_handlers={Exception: unavailable})
    app.add_middleware(PrometheusMiddleware, registry=registry)
    assert request(app, "/boom").status == 503
    check(registry, expected)


@row("A32", (GET, "/boom", 503, "", "complete"))
def test_outermost_sees_the_handlers_status(registry: CollectorRegistry, expected: Any) -> None:
    app = Starlette(routes=routes(), exception_handlers={Exception: unavailable})
    assert request(PrometheusMiddleware(app, registry=registry), "/boom").status == 503
    check(registry, expected, "ValueError")


def test_a_handled_exception_is_none(registry: CollectorRegistry) -> None:
    app = Starlette(routes=routes(), exception_handlers={ValueError: unavailable})
    assert request(PrometheusMiddleware(app, registry=registry), "/m1/boom").error is None
    check(registry, [(GET, "/m1/boom", 503, "", "complete")])


def slow_task_app(seen: list[Any], registry: CollectorRegistry, **options: Any) -> Starlette:
    def task() -> None:
        samples = collected(registry)
        count = value(samples, "http_request_duration_seconds_count")
        seen.append((count, in_progress(registry)))

    async def answer(request: Request) -> Response:
        return PlainTextResponse("hello", background=BackgroundTask(task))

    return Starlette(routes=[Route("/bgslow", answer)], **options)


@row("A34", (GET, "/bgslow", 200, "", "complete"))
def test_background_tasks_come_after_the_end(registry: CollectorRegistry, expected: Any) -> None:
    seen: list[Any] = []
    app = slow_task_app(seen, registry)
    request(PrometheusMiddleware(app, registry=registry), "/bgslow")
    assert seen == [(1.0, 0.0)]
    check(registry, expected)


@row("A35", (GET, "/bgboom", 200, "", "complete"))
def test_exception_in_a_background_task(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    assert request(app, "/bgboom").raised == "KeyError"
    check(registry, expected, "KeyError")


# Before that, a task group made an ExceptionGroup of what a stream raised.
KNOWS_SPEC_2_4 = hasattr(starlette.responses, "ClientDisconnect")


@row("A36", (GET, "/sboom", 200, "ValueError", "error"))
def test_exception_mid_stream(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    answer = request(app, "/sboom", spec="2.4")
    assert (answer.status, answer.body) == (200, b"a")
    check(registry, [(GET, "/sboom", 200, answer.raised, "error")])
    if KNOWS_SPEC_2_4:
        check(registry, expected)


@row("A37", (GET, "/slowstream", 200, "", "disconnect"))
def test_disconnect_by_receive(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    assert request(app, "/slowstream", leaves_after=3).error is None
    check(registry, expected)


class Telling(Server):
    """A server that tells of its own end before its `send` of the last message returns."""

    def __init__(self, last: Any) -> None:
        super().__init__([END], {"type": "http.disconnect"})
        self._ending, self._told = last, asyncio.Event()

    async def receive(self) -> Any:
        if not self._script:
            await self._told.wait()
        return self._script.popleft() if self._script else self._last

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message is self._ending:
            self._told.set()
            await asyncio.sleep(0.01)


HYPERCORN = "hypercorn.protocol.http_stream"
TRAILED = [{**STARTED, "trailers": True}, BODY, LAST, {"type": "http.response.trailers"}]


@pytest.mark.parametrize(
    ("module", "messages", "outcome", "sent"),
    [
        (HYPERCORN, [STARTED, BODY, LAST], "complete", 9),
        (HYPERCORN, TRAILED, "complete", 9),
        (HYPERCORN, [STARTED, BODY], "disconnect", 0),  # the client has left, then
        ("another.server", [STARTED, BODY, LAST], "disconnect", 5),
    ],
    ids=["the last", "trailers", "not the last", "another server"],
)
def test_the_end_that_hypercorn_tells_of_itself(
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    messages: Any,
    outcome: str,
    sent: int,
) -> None:
    """Who listens takes it for a client that left, and cancels what sends, as Starlette does."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def stream() -> None:
            for message in messages:
                await send(message)

        task = asyncio.ensure_future(stream())
        while (await receive())["type"] != "http.disconnect":
            pass
        task.cancel()
        await asyncio.wait([task])

    monkeypatch.delitem(sys.modules, HYPERCORN, raising=False)
    monkeypatch.setitem(sys.modules, module, sys)
    door = PrometheusMiddleware(answer, registry=registry)
    run(door, http_scope(), lambda: Telling(messages[-1]))
    check(registry, [(GET, "<unmatched>", 200, "", outcome)])
    assert value(collected(registry), "http_response_body_bytes_total") == sent


@pytest.mark.skipif(not KNOWS_SPEC_2_4, reason="this Starlette does not know ASGI spec 2.4")
@row("A38", (GET, "/slowstream", 200, "ClientDisconnect", "disconnect"))
def test_disconnect_by_send(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    answer = request(app, "/slowstream", leaves_after=3, spec="2.4")
    assert answer.raised == "ClientDisconnect"
    check(registry, expected)


async def passing(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


PASSING = Middleware(BaseHTTPMiddleware, dispatch=passing)


@row("A52", (GET, "/users/{id}", 200, "", "complete"))
def test_base_http_middleware_below(registry: CollectorRegistry, expected: Any) -> None:
    app = Starlette(routes=routes(), middleware=[PASSING])
    request(PrometheusMiddleware(app, registry=registry), "/users/3")
    check(registry, expected)


@row("A54", (GET, "/bgslow", 200, "", "complete"))
def test_base_http_middleware_and_a_task(registry: CollectorRegistry, expected: Any) -> None:
    seen: list[Any] = []
    app = slow_task_app(seen, registry, middleware=[PASSING])
    request(PrometheusMiddleware(app, registry=registry), "/bgslow")
    assert seen == [(1.0, 0.0)]
    check(registry, expected)


@pytest.mark.parametrize(
    ("target", "route", "status"),
    [
        ("/m1/nope", "/m1/{path}", 404),
        ("/dup2/k/1", "/dup2/k/{x}", 200),
        ("/x", "<unmatched>", 404),
    ],
)
@pytest.mark.parametrize("above", [True, False], ids=["above", "below"])
def test_base_http_middleware(
    registry: CollectorRegistry, target: str, route: str, status: int, above: bool
) -> None:
    ours = Middleware(PrometheusMiddleware, registry=registry)
    middleware = [PASSING, ours] if above else [ours, PASSING]
    request(Starlette(routes=routes(), middleware=middleware), target)
    check(registry, [(GET, route, status, "", "complete")])


# Starlette 0.36 leaves a stream of anyio's open then.
@pytest.mark.filterwarnings("ignore:.*MemoryObjectReceiveStream")
def test_base_http_middleware_and_an_exception(registry: CollectorRegistry) -> None:
    app = Starlette(routes=routes(), middleware=[PASSING])
    assert request(PrometheusMiddleware(app, registry=registry), "/boom").raised == "ValueError"
    check(registry, [(GET, "/boom", 500, "", "complete")], "ValueError")
    gc.collect()


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_base_http_middleware_and_a_disconnect(registry: CollectorRegistry, spec: str) -> None:
    app = Starlette(routes=routes(), middleware=[PASSING])
    app = PrometheusMiddleware(app, registry=registry)
    answer = request(app, "/slowstream", leaves_after=3, spec=spec)
    check(registry, [(GET, "/slowstream", 200, answer.raised, "disconnect")])
    gc.collect()


def test_bytes_are_those_that_leave(registry: CollectorRegistry) -> None:
    async def long(request: Request) -> Response:
        return PlainTextResponse("long" * 10_000)

    app = Starlette(routes=[Route("/long", long)], middleware=[Middleware(GZipMiddleware)])
    app = PrometheusMiddleware(app, registry=registry)
    answer = request(app, "/long", headers={"accept-encoding": "gzip"})
    assert len(answer.body) < 10_000
    assert value(collected(registry), "http_response_body_bytes_total") == len(answer.body)


class Backend(AuthenticationBackend):
    async def authenticate(self, conn: Any) -> Any:
        user = conn.headers.get("x-user")
        if user == "bad":
            raise AuthenticationError("bad")
        return (AuthCredentials(["authenticated"]), SimpleUser(user)) if user else None


@requires("authenticated")
async def private(request: Request) -> Response:
    return PlainTextResponse("private")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        pytest.param("joe", (GET, "/priv", 200, "", "complete"), id="A56"),
        pytest.param("", (GET, "/priv", 403, "", "complete"), id="A57"),
        pytest.param("bad", (GET, "/priv", 400, "", "complete"), id="A58"),
    ],
)
@pytest.mark.parametrize("added", [False, True], ids=["wrapped", "added"])
def test_authentication(registry: CollectorRegistry, user: str, expected: Any, added: bool) -> None:
    app: Any = Starlette(routes=[Route("/priv", private)])
    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    if added:
        app.add_middleware(PrometheusMiddleware, registry=registry)
    else:
        app = PrometheusMiddleware(app, registry=registry)
    request(app, "/priv", headers={"x-user": user})
    check(registry, [expected])


@row("A86", (GET, "/slow", 200, "", "complete"))
def test_in_progress_while_streaming(registry: CollectorRegistry, expected: Any) -> None:
    seen: list[float] = []

    async def slow(request: Request) -> Response:
        async def pieces() -> Any:
            for _ in range(3):
                seen.append(in_progress(registry))
                yield b"a"

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/slow", slow)])
    request(PrometheusMiddleware(app, registry=registry), "/slow")
    assert seen == [1.0] * 3
    check(registry, expected)


@row("A90", (GET, "/users/{id}", 200, "", "complete"))
def test_the_duration_is_within_the_call(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(Starlette(routes=routes()), registry=registry)
    answer = request(app, "/users/3")
    seconds = value(collected(registry), "http_request_duration_seconds_sum")
    assert 0 <= seconds <= answer.seconds
    check(registry, expected)


def test_the_duration_is_to_the_last_byte(registry: CollectorRegistry) -> None:
    async def slow(request: Request) -> Response:
        async def pieces() -> Any:
            yield b"a"
            await asyncio.sleep(0.05)
            yield b"b"

        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/slow", slow)])
    request(PrometheusMiddleware(app, registry=registry), "/slow")
    assert value(collected(registry), "http_request_duration_seconds_sum") >= 0.045
