"""What went wrong once on the ASGI door, or nearly did, each with the smallest case."""

from __future__ import annotations

import asyncio
import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from asgi.driver import (
    BODY,
    LAST,
    STARTED,
    Answer,
    Server,
    check,
    exchange,
    http_scope,
    http_server,
    ok,
    request,
    run,
    sending,
    websocket,
    websocket_scope,
)
from garbage import no_collection
from metrics import collected, in_progress, records, value
from prom_middleware.asgi import PrometheusMiddleware

UNMATCHED = ("GET", "<unmatched>")
COMPLETE = (*UNMATCHED, 200, "", "complete")
PATIENCE = 20.0  # seconds; only a failing test waits that long
ACCEPT = {"type": "websocket.accept"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# Files that are gone, or never were files, when their bytes are to be counted.


def pathsend(directory: Path) -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": str(directory / "deleted meanwhile")}


def closed_file(directory: Path) -> dict[str, Any]:
    file = (directory / "closed").open("wb")
    file.close()
    return {"type": "http.response.zerocopysend", "file": file}


def memory_file(directory: Path) -> dict[str, Any]:
    return {"type": "http.response.zerocopysend", "file": io.BytesIO(b"x")}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("make", [pathsend, closed_file, memory_file])
def test_a_file_that_cannot_be_measured_still_ends_the_response(
    registry: CollectorRegistry, tmp_path: Path, make: Callable[[Path], Any], method: str
) -> None:
    message = make(tmp_path)
    app = PrometheusMiddleware(sending(STARTED, message), registry=registry)
    answer = request(app, method=method, failing=True)
    assert answer.error is None
    assert answer.sent == [STARTED, message]
    check(registry, [(method, "<unmatched>", 200, "", "complete")])
    assert value(collected(registry), "http_response_body_bytes_total") == 0


@pytest.mark.parametrize("make", [closed_file, memory_file])
def test_a_part_that_cannot_be_measured_is_not_the_end(
    registry: CollectorRegistry, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    during: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(STARTED)
        await send({**make(tmp_path), "more_body": True})
        during.append(in_progress(registry))
        await send(LAST)

    assert request(PrometheusMiddleware(app, registry=registry), failing=True).error is None
    assert during == [1]
    check(registry, [COMPLETE])
    assert value(collected(registry), "http_response_body_bytes_total") == len(LAST["body"])


class Closing(Server):
    """A server as hypercorn: it tells of the end that it makes while it sends the last message."""

    def __init__(self) -> None:
        super().__init__([{"type": "http.request"}], {"type": "http.disconnect"})
        self.closed = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.closed.set()
            await asyncio.sleep(0)

    async def receive(self) -> dict[str, Any]:
        await self.closed.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("kind", [b"text/plain", b"text/event-stream"])
def test_the_end_that_the_server_makes_is_no_disconnect(
    registry: CollectorRegistry, kind: bytes
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        for message in ({**STARTED, "headers": [(b"content-type", kind)]}, BODY, LAST):
            await send(message)
        await listener

    run(PrometheusMiddleware(app, registry=registry), http_scope(), Closing)
    check(registry, [COMPLETE])


class TooShort(Closing):
    """A server as uvicorn: it tells of the end that it makes of a response that is too short."""

    async def send(self, message: dict[str, Any]) -> None:
        await Server.send(self, message)
        if message is LAST:
            self.closed.set()
            raise RuntimeError("Too little data for declared Content-Length")


@pytest.mark.parametrize(("length", "outcome"), [(b"10", "error"), (b"9", "disconnect")])
def test_a_response_that_is_too_short_is_no_disconnect(
    registry: CollectorRegistry, length: bytes, outcome: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({**STARTED, "headers": [(b"content-length", length)]})
        await send(BODY)
        try:
            await send(LAST)
        finally:
            await listener

    with suppress(RuntimeError):
        run(PrometheusMiddleware(app, registry=registry), http_scope(), TooShort)
    check(registry, [(*UNMATCHED, 200, "RuntimeError", outcome)])


def test_a_file_for_a_client_that_is_gone_is_no_complete_response(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    app = sending(None, STARTED, None, pathsend(tmp_path))
    request(PrometheusMiddleware(app, registry=registry), leaves_after=1, failing=True)
    check(registry, [(*UNMATCHED, 200, "", "disconnect")])


def test_no_bytes_of_a_head_are_counted(registry: CollectorRegistry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    path = {"type": "http.response.pathsend", "path": str(tmp_path / "file")}
    with (tmp_path / "file").open("rb") as file:
        copied = {"type": "http.response.zerocopysend", "file": file}
        trailed = [{**STARTED, "trailers": True}, LAST, {"type": "http.response.trailers"}]
        for steps in ([STARTED, path], [STARTED, copied], [STARTED, BODY, LAST], trailed):
            app = PrometheusMiddleware(sending(*steps), registry=registry)
            request(app, method="HEAD")
    check(registry, [("HEAD", "<unmatched>", 200, "", "complete")] * 4)
    assert value(collected(registry), "http_response_body_bytes_total") == 0


# Exceptions after the last byte, and what `send` raises.

LATE: list[BaseException] = [
    ValueError("late"),
    OSError("late"),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
]


@pytest.mark.parametrize("error", LATE, ids=lambda error: type(error).__name__)
def test_what_is_raised_after_the_end_is_counted_and_raised(
    registry: CollectorRegistry, error: BaseException
) -> None:
    answer = request(PrometheusMiddleware(sending(STARTED, LAST, error), registry=registry))
    assert answer.error is error
    check(registry, [COMPLETE], type(error).__name__)
    raised = {"route": "<unmatched>", "exception": type(error).__name__}
    assert value(collected(registry), "http_request_exceptions_total", raised) == 1


class Refusing(Server):
    """A server whose `send` raises `error` for the message of that number."""

    def __init__(self, error: BaseException, number: int) -> None:
        super().__init__([{"type": "http.request"}], {"type": "http.disconnect"})
        self._error, self._number, self._count = error, number, 0

    async def send(self, message: dict[str, Any]) -> None:
        self._count += 1
        if self._count == self._number:
            raise self._error
        await super().send(message)


def refused(registry: CollectorRegistry, app: Any, error: BaseException, number: int) -> Answer:
    door = PrometheusMiddleware(app, registry=registry)
    return run(door, http_scope(), lambda: Refusing(error, number))


# What `send` raises, for which message, and the record.
REFUSALS = {
    "OSError at the start": (OSError(), 1, (499, "OSError", "disconnect")),
    "a subclass at the start": (
        ConnectionResetError(),
        1,
        (499, "ConnectionResetError", "disconnect"),
    ),
    "OSError midway": (OSError(), 2, (200, "OSError", "disconnect")),
    "OSError at the last piece": (OSError(), 3, (200, "OSError", "disconnect")),
    "RuntimeError at the start": (RuntimeError(), 1, (500, "RuntimeError", "error")),
    "RuntimeError midway": (RuntimeError(), 2, (200, "RuntimeError", "error")),
}


@pytest.mark.parametrize(("error", "number", "ending"), REFUSALS.values(), ids=REFUSALS)
def test_only_an_os_error_of_send_says_that_the_client_is_gone(
    registry: CollectorRegistry, error: BaseException, number: int, ending: Any
) -> None:
    answer = refused(registry, sending(STARTED, BODY, LAST), error, number)
    assert answer.error is error
    check(registry, [(*UNMATCHED, *ending)])


@pytest.mark.parametrize(("number", "status"), [(1, 499), (2, 200)])
def test_what_an_application_makes_of_an_os_error_is_still_a_disconnect(
    registry: CollectorRegistry, number: int, status: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await sending(STARTED, BODY)(scope, receive, send)
        except OSError as error:
            raise ValueError("in other words") from error

    refused(registry, app, BrokenPipeError(), number)
    check(registry, [(*UNMATCHED, status, "ValueError", "disconnect")])


def test_an_os_error_after_the_end_changes_nothing(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with suppress(OSError):
            await sending(STARTED, LAST, BODY)(scope, receive, send)

    refused(registry, app, BrokenPipeError(), 3)
    check(registry, [COMPLETE])


@pytest.mark.parametrize("steps", [[STARTED, None], [STARTED, BODY]], ids=["at-once", "midway"])
def test_of_two_starts_the_second_says_nothing(registry: CollectorRegistry, steps: Any) -> None:
    events = [(b"content-type", b"text/event-stream")]
    again = {**STARTED, "status": 500, "headers": events, "trailers": True}
    answer = request(PrometheusMiddleware(sending(*steps, again, LAST), registry=registry))
    assert answer.statuses == [200, 500]
    check(registry, [COMPLETE])
    assert value(collected(registry), "http_stream_duration_seconds_count") == 0


# What is left behind.


class Token:
    """Something in the scope that can be looked for."""


def step_through(app: Any, scope: dict[str, Any]) -> None:
    """Call `app` without a loop, with a server whose `send` holds the scope, as real ones do."""

    async def receive() -> dict[str, Any]:
        return {"type": f"{scope['type']}.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        assert scope["type"] in message["type"]

    with suppress(StopIteration, ValueError):
        # In a context of its own, as a task has: what doors leave there goes with it.
        copy_context().run(app(scope, receive, send).send, None)
        pytest.fail("the application waits")


SOCKET = [ACCEPT, {"type": "websocket.close"}]
EXCHANGES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "answered": (http_scope, [None, STARTED, LAST]),
    "raised": (http_scope, [STARTED, ValueError()]),
    "raised late": (http_scope, [STARTED, LAST, ValueError()]),
    "incomplete": (http_scope, [STARTED]),
    "websocket": (lambda: websocket_scope("/"), [None, *SOCKET]),
    "websocket raised": (lambda: websocket_scope("/"), [ACCEPT, ValueError()]),
}


@pytest.mark.parametrize("kind", EXCHANGES)
def test_a_request_goes_without_the_collector(registry: CollectorRegistry, kind: str) -> None:
    make_scope, steps = EXCHANGES[kind]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, BaseException):
                raise ValueError("one of its own: the table's would keep our frames")
            await (receive() if step is None else send(step))

    door = PrometheusMiddleware(app, registry=registry)
    with no_collection():
        token = Token()
        here = weakref.ref(token)
        step_through(door, {**make_scope(), "state": token})
        del token
        assert here() is None


class Sealed(dict[str, Any]):
    """A scope that takes nothing in."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("this scope is sealed")


def test_a_scope_that_takes_nothing_in_is_served_and_leaves_nothing_up(
    registry: CollectorRegistry,
) -> None:
    app = PrometheusMiddleware(ok, registry=registry)
    answer = run(app, Sealed(http_scope()), http_server, failing=True)
    assert (answer.error, answer.body) == (None, b"ok")
    assert in_progress(registry) == 0


class Kept(dict[str, Any]):
    """A scope that gives nothing away."""

    def __delitem__(self, key: str) -> None:
        raise TypeError("this scope keeps what it has")


def test_a_scope_that_gives_nothing_away_is_served(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(ok, registry=registry)
    answer = run(app, Kept(http_scope()), http_server, failing=True)
    assert (answer.error, answer.body) == (None, b"ok")
    check(registry, [COMPLETE])


def test_an_application_that_empties_its_scope(registry: CollectorRegistry) -> None:
    async def emptying(scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)
        scope.clear()

    answer = run(PrometheusMiddleware(emptying, registry=registry), http_scope(), http_server)
    assert (answer.error, answer.body) == (None, b"ok")
    check(registry, [COMPLETE])


# Scrapes.


class Slow:
    """A collector that waits for what only the event loop can do."""

    def __init__(self) -> None:
        self.asked, self.answered = threading.Event(), threading.Event()
        self.in_time: list[bool] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        self.asked.set()
        self.in_time.append(self.answered.wait(PATIENCE))
        yield GaugeMetricFamily("slow", "Waited for.", value=1)


def test_a_slow_scrape_does_not_hold_up_the_loop(registry: CollectorRegistry) -> None:
    slow = Slow()
    registry.register(slow)
    app = PrometheusMiddleware(ok, registry=registry)

    async def main() -> tuple[Answer, Answer]:
        scrape = asyncio.ensure_future(exchange(app, http_scope("/metrics"), http_server()))
        while not slow.asked.is_set() and not scrape.done():
            await asyncio.sleep(0.01)
        other = await exchange(app, http_scope("/other"), http_server())
        slow.answered.set()
        return await scrape, other

    scrape, other = asyncio.run(main())
    assert slow.in_time == [True]
    assert b"slow 1.0" in scrape.body
    assert other.body == b"ok"
    assert records(registry) == [COMPLETE]


# Websockets that never opened.


def handshakes(registry: CollectorRegistry) -> list[tuple[str, str]]:
    return [
        (dict(labels)["status"], dict(labels)["code"])
        for (name, labels), count in collected(registry).items()
        if name == "websocket_connections_total" and count
    ]


def test_a_client_that_is_gone_before_the_accept_was_not_answered(
    registry: CollectorRegistry,
) -> None:
    websocket(PrometheusMiddleware(sending(None, None), registry=registry), "/")
    assert handshakes(registry) == [("500", "none")]


@pytest.mark.parametrize(("status", "label"), [(418, "418"), (799, "799"), (100_000, "_OTHER")])
def test_a_denial_s_status_is_a_label_of_the_http_kind(
    registry: CollectorRegistry, status: int, label: str
) -> None:
    start = {"type": "websocket.http.response.start", "status": status, "headers": []}
    body = {"type": "websocket.http.response.body", "body": b"no"}
    websocket(PrometheusMiddleware(sending(None, start, body), registry=registry), "/")
    assert handshakes(registry) == [(label, "none")]


@pytest.mark.parametrize("given", [iter, tuple, lambda pairs: (pair for pair in pairs)])
def test_headers_that_can_be_read_once_are_the_application_s(
    registry: CollectorRegistry, given: Callable[[Any], Any]
) -> None:
    """An iterable of pairs, says the specification."""
    seen: list[Any] = []

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        await ok(scope, receive, send)

    begun = str(time.time() - 1)
    scope = http_scope(headers={"X-Request-Start": begun, "X-Last": "yes"})
    pairs = list(scope["headers"])
    scope["headers"] = given(pairs)
    app = PrometheusMiddleware(
        reading, registry=registry, labels={"last": lambda facts: facts.headers["x-last"]}
    )
    run(app, scope, http_server)
    assert seen == pairs
    samples = collected(registry)
    assert value(samples, "http_requests_total", {"last": "yes"}) == 1
    assert value(samples, "http_request_queue_seconds_count") == 1


@pytest.mark.parametrize("given", [iter, tuple, list])
def test_headers_of_a_start_that_is_held_back_are_the_client_s(
    registry: CollectorRegistry, given: Callable[[Any], Any]
) -> None:
    """Middleware further out sends the start with the first piece of the body, as gzip's does."""
    pairs = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=b")]
    door = PrometheusMiddleware(
        sending({**STARTED, "headers": given(pairs)}, LAST), registry=registry
    )
    sent: list[Any] = []

    async def holding(scope: Any, receive: Any, send: Any) -> None:
        held: list[Any] = []

        async def late(message: Any) -> None:
            held.append(message)
            if message["type"] != STARTED["type"]:
                sent.extend(list(one.get("headers", ())) for one in held)
                for one in held:
                    await send({**one, "headers": sent[0]} if "headers" in one else one)

        await door(scope, receive, late)

    run(holding, http_scope(), http_server)
    assert sent[0] == pairs
    assert records(registry) == [COMPLETE]
