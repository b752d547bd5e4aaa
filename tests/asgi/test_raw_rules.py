"""The rules on ASGI applications that are no framework's."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import (
    BODY,
    END,
    LAST,
    STARTED,
    Server,
    check,
    exchange,
    http_scope,
    http_server,
    ok,
    request,
    row,
    run,
    sending,
)
from metrics import collected, in_progress, records, value
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.stores.multiprocess import ending

TRAILED = {**STARTED, "trailers": True}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
FILE = {"type": "http.response.pathsend", "path": __file__}
GONE = {"type": "http.disconnect"}
UNMATCHED = ("GET", "<unmatched>")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


# Steps, what the server does, the one record, the exceptions after the end.
OUTCOMES = {
    "A40": ([None, None], {"leaves_after": 0}, (499, "", "disconnect"), []),
    "A41": ([None], {}, (500, "", "incomplete"), []),
    "A42": ([{**STARTED, "status": 201}, BODY], {}, (201, "", "incomplete"), []),
    "A43": ([STARTED, {**STARTED, "status": 500}, LAST], {}, (200, "", "complete"), []),
    "A45": ([STARTED, LAST, LAST], {}, (200, "", "complete"), []),
    "A46": ([asyncio.CancelledError()], {}, (500, "CancelledError", "error"), []),
    "A47": ([TRAILED, LAST, TRAILERS], {}, (200, "", "complete"), []),
    "A47, not announced": ([STARTED, BODY, TRAILERS], {}, (200, "", "incomplete"), []),
    "a body before the start": ([LAST, STARTED, LAST], {}, (200, "", "complete"), []),
    "a body without a start": ([LAST], {}, (500, "", "incomplete"), []),
    "a file without a start": ([FILE], {}, (500, "", "incomplete"), []),
    "started, no body": ([STARTED], {}, (200, "", "incomplete"), []),
    "strict server, two starts": (
        [STARTED, BODY, {**STARTED, "status": 500}],
        {"strict": True},
        (200, "RuntimeError", "error"),
        [],
    ),
    "start after the end": ([STARTED, LAST, STARTED], {"strict": True}, None, ["RuntimeError"]),
    "raises after the end": ([STARTED, LAST, KeyError("k")], {}, None, ["KeyError"]),
    "raises before the start": ([ValueError()], {}, (500, "ValueError", "error"), []),
    "raises after the start": ([STARTED, ValueError()], {}, (200, "ValueError", "error"), []),
    "raises mid-stream": ([STARTED, BODY, OSError()], {}, (200, "OSError", "error"), []),
    "an OSError of its own": ([OSError()], {}, (500, "OSError", "error"), []),
    "SystemExit": ([SystemExit(1)], {}, (500, "SystemExit", "error"), []),
    "KeyboardInterrupt": ([KeyboardInterrupt()], {}, (500, "KeyboardInterrupt", "error"), []),
    "GeneratorExit mid-stream": (
        [STARTED, BODY, GeneratorExit()],
        {},
        (200, "GeneratorExit", "error"),
        [],
    ),
    "cancelled mid-stream": (
        [STARTED, BODY, asyncio.CancelledError()],
        {},
        (200, "CancelledError", "error"),
        [],
    ),
    "gone, then cancelled": (
        [None, None, asyncio.CancelledError()],
        {"leaves_after": 0},
        (499, "CancelledError", "disconnect"),
        [],
    ),
    "gone, then raises": (
        [None, None, ValueError()],
        {"leaves_after": 0},
        (499, "ValueError", "disconnect"),
        [],
    ),
    "gone at the start": (
        [STARTED, LAST],
        {"leaves_after": 0, "spec": "2.4"},
        (499, "BrokenPipeError", "disconnect"),
        [],
    ),
    "gone mid-stream": (
        [STARTED, BODY, BODY, LAST],
        {"leaves_after": 2, "spec": "2.4"},
        (200, "BrokenPipeError", "disconnect"),
        [],
    ),
    "gone mid-stream, returns": (
        [STARTED, BODY, None, None],
        {"leaves_after": 2},
        (200, "", "disconnect"),
        [],
    ),
    # What is sent after the client has left goes nowhere.
    "gone mid-stream, sends the rest": (
        [None, STARTED, BODY, None, LAST],
        {"leaves_after": 2},
        (200, "", "disconnect"),
        [],
    ),
    "disconnect after the end": ([None, STARTED, LAST, None], {}, (200, "", "complete"), []),
    "disconnect after the end, raises": (
        [None, STARTED, LAST, None, ValueError()],
        {},
        None,
        ["ValueError"],
    ),
    "more trailers than come": (
        [TRAILED, LAST, {**TRAILERS, "more_trailers": True}],
        {},
        (200, "", "incomplete"),
        [],
    ),
    "no trailers after a file": ([TRAILED, FILE], {}, (200, "", "incomplete"), []),
    "trailers after a file": ([TRAILED, FILE, TRAILERS], {}, (200, "", "complete"), []),
    "trailers not announced": ([STARTED, LAST, TRAILERS], {}, (200, "", "complete"), []),
    "trailers in parts": (
        [TRAILED, LAST, {**TRAILERS, "more_trailers": True}, TRAILERS],
        {},
        (200, "", "complete"),
        [],
    ),
    "trailers that never come": ([TRAILED, LAST], {}, (200, "", "incomplete"), []),
    "trailers, raises": ([TRAILED, LAST, KeyError()], {}, (200, "KeyError", "error"), []),
    "trailers announced as absent": (
        [{**STARTED, "trailers": False}, LAST],
        {},
        (200, "", "complete"),
        [],
    ),
    "other messages": (
        [
            {"type": "http.response.early_hint", "links": [b"</a>"]},
            {"type": "http.response.push", "path": "/a", "headers": []},
            STARTED,
            {"type": "http.response.debug", "info": {}},
            LAST,
        ],
        {},
        (200, "", "complete"),
        [],
    ),
    "status of an enumeration": (
        [{**STARTED, "status": HTTPStatus.NOT_FOUND}, LAST],
        {},
        (404, "", "complete"),
        [],
    ),
    # Gone before the start, and the application never asks: nobody can know.
    "C1": ([STARTED, LAST], {"leaves_after": 0}, (200, "", "complete"), []),
    "body without a body": ([STARTED, {"type": "http.response.body"}], {}, None, []),
}


@pytest.mark.parametrize(
    ("steps", "server", "ending", "late"), OUTCOMES.values(), ids=OUTCOMES.keys()
)
def test_outcomes(
    registry: CollectorRegistry, steps: Any, server: Any, ending: Any, late: Any
) -> None:
    error = next((step for step in steps if isinstance(step, BaseException)), None)
    answer = request(PrometheusMiddleware(sending(*steps), registry=registry), **server)
    check(registry, [(*UNMATCHED, *(ending or (200, "", "complete")))], *late)
    if error is not None:
        assert answer.error is error


@pytest.mark.parametrize(("leaves_after", "status"), [(0, 499), (1, 200), (2, 200)])
def test_gone_and_the_application_takes_it(
    registry: CollectorRegistry, leaves_after: int, status: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with suppress(OSError):
            await send(STARTED)
            await send(BODY)
            await send(LAST)

    app = PrometheusMiddleware(app, registry=registry)
    assert request(app, spec="2.4", leaves_after=leaves_after).error is None
    check(registry, [(*UNMATCHED, status, "", "disconnect")])


def test_a_status_in_a_string_is_its_number(registry: CollectorRegistry) -> None:
    """No application should send it; Hypercorn takes it, and that is what the client gets."""
    request(PrometheusMiddleware(sending({**STARTED, "status": "201"}, LAST), registry=registry))
    check(registry, [(*UNMATCHED, 201, "", "complete")])


@row("A48", (*UNMATCHED, 200, "", "complete"))
def test_pathsend_is_final(registry: CollectorRegistry, tmp_path: Any, expected: Any) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1234)
    message = {"type": "http.response.pathsend", "path": str(file)}
    request(PrometheusMiddleware(sending(STARTED, message), registry=registry))
    check(registry, expected)
    assert value(collected(registry), "http_response_body_bytes_total") == 1234


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        ([{}], 1000),
        ([{"count": 10}], 10),
        ([{"offset": 400}], 600),
        ([{"offset": 1400}], 0),
        ([{"offset": 0, "count": 100, "more_body": True}, {"offset": 900, "count": 100}], 200),
    ],
    ids=["whole", "count", "offset", "behind-the-end", "parts"],
)
def test_zerocopysend_counts_and_ends(
    registry: CollectorRegistry, tmp_path: Any, parts: Any, sent: int
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    with (tmp_path / "file").open("rb") as file:
        messages = [{"type": "http.response.zerocopysend", "file": file, **p} for p in parts]
        request(PrometheusMiddleware(sending(STARTED, *messages), registry=registry))
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    check(registry, [(*UNMATCHED, 200, "", "complete")])
    assert value(collected(registry), "http_response_body_bytes_total") == sent


def test_zerocopysend_without_an_end_is_incomplete(
    registry: CollectorRegistry, tmp_path: Any
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with (tmp_path / "file").open("rb") as file:
        message = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
        request(PrometheusMiddleware(sending(STARTED, message), registry=registry))
    check(registry, [(*UNMATCHED, 200, "", "incomplete")])


@pytest.mark.parametrize(
    ("messages", "last"),
    [([STARTED, BODY, LAST], 2), ([TRAILED, BODY, LAST, TRAILERS], 3)],
    ids=["body", "trailers"],
)
def test_the_end_is_the_last_byte(registry: CollectorRegistry, messages: Any, last: int) -> None:
    after: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
            after.append(in_progress(registry))

    request(PrometheusMiddleware(app, registry=registry))
    assert after == [1.0] * last + [0.0]


@row("A84")
def test_unknown_scope_types_pass_untouched(registry: CollectorRegistry, expected: Any) -> None:
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    scope = {"type": "carrier.pigeon"}
    arguments = (scope, object(), object())
    asyncio.run(PrometheusMiddleware(app, registry=registry)(*arguments))  # type: ignore[arg-type]
    assert [id(argument) for argument in seen] == [id(argument) for argument in arguments]
    assert scope == {"type": "carrier.pigeon"}
    check(registry, expected)


@pytest.mark.parametrize("failing", [False, True], ids=["startup", "A83"])
def test_lifespan_passes_untouched(registry: CollectorRegistry, failing: bool) -> None:
    steps = [None, {"type": "lifespan.startup.complete"}, None]
    if failing:
        steps = [None, {"type": "lifespan.startup.failed"}, RuntimeError("no")]  # type: ignore[list-item]
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    script = [{"type": "lifespan.startup"}]
    last = {"type": "lifespan.shutdown"}
    app = PrometheusMiddleware(sending(*steps), registry=registry)
    answer = run(app, scope, lambda: Server(script, last))
    assert answer.sent == [steps[1]]
    assert answer.error is (steps[2] if failing else None)
    assert set(scope) == {"type", "asgi", "state"}
    check(registry, [])


UP = {"type": "lifespan.startup.complete"}
DOWN = [{"type": f"lifespan.shutdown.{how}"} for how in ("complete", "failed")]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [([UP], [UP, "written"]), *(([end], ["written", end, "written"]) for end in DOWN)],
    ids=["nobody is told", "complete", "failed"],
)
def test_what_waits_is_written_before_the_server_is_told_of_the_end(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, steps: Any, expected: Any
) -> None:
    """It may end as soon as it is, and calls nobody."""
    seen: list[Any] = []
    monkeypatch.setattr(ending, "conclude", lambda **_: seen.append("written"))

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any:
        return {"type": "lifespan.shutdown"}

    app = PrometheusMiddleware(sending(*steps), registry=registry)
    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert seen == expected


@row("A85", *[(*UNMATCHED, 200, "", "complete")] * 500)
def test_500_concurrent_tasks(registry: CollectorRegistry, expected: Any) -> None:
    async def main() -> float:
        waiting, going_on = asyncio.Semaphore(0), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await send(STARTED)
            waiting.release()
            await going_on.wait()
            await send(LAST)

        app = PrometheusMiddleware(slow, registry=registry)
        calls = [
            asyncio.ensure_future(exchange(app, http_scope(), http_server())) for _ in range(500)
        ]
        for _ in calls:
            await waiting.acquire()
        meanwhile = in_progress(registry)
        going_on.set()
        await asyncio.gather(*calls)
        return meanwhile

    assert asyncio.run(main()) == 500
    check(registry, expected)


@row("C8")
def test_32_threads_count_exactly(registry: CollectorRegistry, expected: Any) -> None:
    app = PrometheusMiddleware(ok, registry=registry)

    async def many() -> None:
        for _ in range(100):
            await exchange(app, http_scope(), http_server(b"abc"))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = collected(registry)
    assert value(samples, "http_requests_total") == 3200
    assert value(samples, "http_request_duration_seconds_count") == 3200
    assert value(samples, "http_response_body_bytes_total") == 6400
    assert in_progress(registry) == 0


@row("C9")
def test_a_cancelled_task_keeps_its_status(registry: CollectorRegistry, expected: Any) -> None:
    async def main() -> None:
        started = asyncio.Event()

        async def stream(scope: Any, receive: Any, send: Any) -> None:
            await send(STARTED)
            await send(BODY)
            started.set()
            await asyncio.Event().wait()

        app = PrometheusMiddleware(stream, registry=registry)
        server = http_server()
        task = asyncio.ensure_future(app(http_scope(), server.receive, server.send))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    [(method, route, status, exception, outcome)] = records(registry)
    assert (method, route, status, exception) == (*UNMATCHED, 200, "CancelledError")
    assert outcome in ("error", "disconnect")
    assert in_progress(registry) == 0


def test_messages_pass_as_they_are(registry: CollectorRegistry) -> None:
    given = [{**STARTED, "status": 207}, dict(BODY), dict(LAST)]
    copies = [dict(message) for message in given]
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive(), await receive(), await receive()])
        for message in given:
            await send(message)

    first = {"type": "http.request", "body": b"a", "more_body": True, "x-server": 1}
    script = [first, END, GONE]
    server = PrometheusMiddleware(app, registry=registry)
    answer = run(server, http_scope(), lambda: Server(script, GONE))
    assert [id(message) for message in received] == [id(message) for message in script]
    assert [id(message) for message in answer.sent] == [id(message) for message in given]
    assert given == copies


def test_the_scope_is_the_servers_own(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["user"] = "me"
        assert scope["extensions"] is extensions
        await ok(scope, receive, send)

    state, extensions = {}, {"http.response.pathsend": {}}  # type: ignore[var-annotated]
    app = PrometheusMiddleware(app, registry=registry)
    assert request(app, state=state, extensions=extensions).status == 200
    assert (state, extensions) == ({"user": "me"}, {"http.response.pathsend": {}})


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not tell who has cancelled it")
def test_what_the_application_cancels_is_no_client_that_left(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gunicorn's own worker cancels where a client has left: `tests/servers` has the real one."""
    monkeypatch.setitem(sys.modules, "gunicorn.asgi.protocol", ModuleType("protocol"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(STARTED)
        raise asyncio.CancelledError

    request(PrometheusMiddleware(app, registry=registry), failing=True)
    check(registry, [("GET", "<unmatched>", 200, "CancelledError", "error")])
