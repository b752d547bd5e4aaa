"""A client that leaves before the end, but with the whole response."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import (
    BODY,
    LAST,
    STARTED,
    check,
    exchange,
    http_scope,
    http_server,
    request,
    sending,
)
from prom_middleware import failures
from prom_middleware.asgi import PrometheusMiddleware

UNMATCHED = ("GET", "<unmatched>")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# A client that has the start has all of an answer to HEAD, and may leave. For each: the steps of
# the application, after how many messages the client leaves, and the record.
HEADS = {
    "before the start": ((None, None, STARTED, LAST), 0, (200, "", "disconnect")),
    "before the start, as it is told again": (
        (None, None, STARTED, None),
        0,
        (200, "", "disconnect"),
    ),
    "and no start came": ((None, None), 0, (499, "", "disconnect")),
    "before the last": ((None, STARTED, None, LAST), 1, (200, "", "complete")),
    "before a piece": ((None, STARTED, None, BODY, LAST), 1, (200, "", "complete")),
    "and it returned": ((None, STARTED, None), 1, (200, "", "complete")),
    "while it stayed": ((None, STARTED), None, (200, "", "incomplete")),
}


@pytest.mark.parametrize(("steps", "leaves", "ending"), HEADS.values(), ids=HEADS)
def test_who_leaves_with_an_answer_to_head_has_all_of_it(
    registry: CollectorRegistry, steps: Any, leaves: int | None, ending: Any
) -> None:
    door = PrometheusMiddleware(sending(*steps), registry=registry)
    request(door, method="HEAD", leaves_after=leaves, failing=True)
    check(registry, [("HEAD", "<unmatched>", *ending)])


@pytest.mark.parametrize("status", [204, 304])
def test_who_leaves_with_a_start_that_has_no_body_has_all_of_it(
    registry: CollectorRegistry, status: int
) -> None:
    app = sending({**STARTED, "status": status}, None, None, LAST)
    request(PrometheusMiddleware(app, registry=registry), leaves_after=1)
    check(registry, [(*UNMATCHED, status, "", "complete")])


# The lengths that the headers say, and how it ended for who left after five bytes.
LENGTHS = {
    "all of it": ((b"5",), "complete"),
    "a part": ((b"6",), "disconnect"),
    "no length": ((), "disconnect"),
    "no number": ((b"five",), "disconnect"),
    "two of them": ((b"5", b"9"), "disconnect"),
}


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])  # as Django has it
@pytest.mark.parametrize(("lengths", "outcome"), LENGTHS.values(), ids=LENGTHS)
def test_who_leaves_with_as_much_as_the_length_says_has_all_of_it(
    registry: CollectorRegistry, lengths: tuple[bytes, ...], outcome: str, name: bytes
) -> None:
    """What is left to do is no answer: a generator that closes what it has read from."""
    start = {**STARTED, "headers": [(name, length) for length in lengths]}
    app = sending(start, BODY, None, None, LAST)
    request(PrometheusMiddleware(app, registry=registry), leaves_after=2)
    check(registry, [(*UNMATCHED, 200, "", outcome)])


def test_an_error_for_who_has_left_with_an_answer_to_head_comes_after_it(
    registry: CollectorRegistry,
) -> None:
    door = PrometheusMiddleware(sending(STARTED, LAST), registry=registry)
    answer = request(door, method="HEAD", leaves_after=1, spec="2.4")
    assert answer.raised == "BrokenPipeError"
    check(registry, [("HEAD", "<unmatched>", 200, "", "complete")], "BrokenPipeError")


def test_who_listens_on_after_a_request_without_an_answer(registry: CollectorRegistry) -> None:
    """The client leaves after the end: that is no failure of ours."""
    listening: list[asyncio.Task[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listening.append(asyncio.create_task(receive()))

    async def main() -> None:
        server = http_server()
        await exchange(PrometheusMiddleware(app, registry=registry), http_scope(), server)
        server._gone.set()
        assert (await listening[0])["type"] == "http.disconnect"

    before = failures.counts().get("disconnect", 0)
    asyncio.run(main())
    check(registry, [(*UNMATCHED, 500, "", "incomplete")])
    assert failures.counts().get("disconnect", 0) == before


@pytest.mark.parametrize("module", ["hypercorn.protocol.http_stream", "another.server"])
@pytest.mark.parametrize(
    ("headers", "error"),
    [([], RuntimeError()), ([(b"content-length", b"9")], asyncio.CancelledError())],
    ids=["no length that could be too short", "cancelled, not refused"],
)
def test_who_leaves_after_a_last_piece_that_was_not_sent(
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    headers: Any,
    error: BaseException,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, sys)
    server = http_server(leaves_after=1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**STARTED, "headers": headers})
        with pytest.raises(type(error)):
            await send(LAST)
        while (await receive())["type"] != "http.disconnect":
            pass

    async def send(message: Any) -> None:
        if message is LAST:
            raise error
        await server.send(message)

    asyncio.run(PrometheusMiddleware(app, registry=registry)(http_scope(), server.receive, send))
    check(registry, [(*UNMATCHED, 200, "", "disconnect")])
