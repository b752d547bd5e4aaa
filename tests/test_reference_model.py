"""Any lawful exchange over ASGI and WSGI, beside a model that says what is recorded of it.

The model knows the rules and nothing of the doors: a second opinion on all that they record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from asgi.driver import http_scope
from metrics import Series, collected
from prom_middleware.asgi import PrometheusMiddleware as ASGIMiddleware
from prom_middleware.wsgi import PrometheusMiddleware as WSGIMiddleware
from wsgi_door.driver import call, environ

NAMED = {"GET", "HEAD", "POST", "QUERY"}  # of the methods that are drawn
EVENTS = "text/event-stream"
ERRORS = (ValueError, KeyError, OSError, asyncio.CancelledError, SystemExit)

pieces = st.binary(max_size=4)
methods = st.sampled_from(["GET", "HEAD", "POST", "QUERY", "get", "PROPFIND"])
statuses = st.sampled_from([200, 204, 304, 404, 503, 599])
types = st.sampled_from(["", "text/plain", EVENTS, f"{EVENTS}; charset=utf-8", "Text/Event-Stream"])


class Step(tuple[Any, ...]):
    """What an application does: `receive`, `start`, `body`, `trailers`, `write` or `raise`."""


@dataclass
class Expected:
    """What is to be recorded of one request."""

    method: str
    status: int = 0
    outcome: str = ""
    received: int = 0
    sent: int = 0
    stream: bool = False
    exception: str = ""

    def series(self) -> Series:
        """Return the series that are not zero."""
        method = self.method if self.method in NAMED else "_OTHER"
        route = {"route": "<unmatched>"}
        where = {"method": method, **route}
        labels = {**where, "status": str(self.status)}
        sent = 0 if self.method == "HEAD" else self.sent
        found = [
            ("http_requests_total", labels, 1),
            ("http_request_body_bytes_total", labels, self.received),
            ("http_response_body_bytes_total", labels, sent),
            ("http_stream_duration_seconds_count", route, self.stream),
            ("http_request_duration_seconds_count", labels, not self.stream),
        ]
        if self.exception:
            exception = {**where, "exception": self.exception}
            found.append(("http_request_exceptions_total", exception, 1))
        if self.outcome != "complete":
            reason = {**where, "reason": self.outcome}
            found.append(("http_responses_aborted_total", reason, 1))
        return {(name, frozenset(have.items())): float(n) for name, have, n in found if n}


def recorded(registry: CollectorRegistry) -> Series:
    """Return the series of `registry` that are not zero, but for those that tell a time."""
    return {
        (name, labels): value
        for (name, labels), value in collected(registry).items()
        if value and name.startswith("http_") and not name.endswith(("_sum", "_bucket", "_created"))
    }


def is_stream(content_type: str) -> bool:
    return content_type.partition(";")[0].lower() == EVENTS


# ASGI.


@st.composite
def asgi_steps(draw: st.DrawFn) -> list[Step]:
    """Draw what an application does: a response that may end anywhere, and then may fail."""
    trailers = draw(st.booleans())
    steps = [Step(("start", draw(statuses), draw(types), trailers))]
    steps += [Step(("body", piece, True)) for piece in draw(st.lists(pieces, max_size=3))]
    steps += [Step(("body", draw(pieces), False))]
    steps += [Step(("trailers", False))] * trailers
    del steps[draw(st.integers(0, 8)) :]
    for place in draw(st.lists(st.integers(0, 8), max_size=4)):
        steps.insert(place, Step(("receive",)))
    errors = draw(st.lists(st.sampled_from(ERRORS), max_size=1))
    return steps + [Step(("raise", error)) for error in errors]


class Client:
    """Sends the pieces of a body, and may be gone after that, or after some messages."""

    def __init__(self, body: list[bytes], leaves: bool, leaves_after: int) -> None:
        self.left = [*body, b""]
        self.leaves, self.leaves_after = leaves, leaves_after

    async def receive(self) -> dict[str, Any]:
        if self.left:
            body = self.left.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.left)}
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.leaves_after -= 1
        if self.leaves_after < 0:
            raise BrokenPipeError("the client is gone")


def asgi_application(steps: list[Step], client: Client) -> Any:
    messages = {
        "start": lambda status, kind, trailers: {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", kind.encode())] if kind else [],
            "trailers": trailers,
        },
        "body": lambda body, more: {"type": "http.response.body", "body": body, "more_body": more},
        "trailers": lambda more: {"type": "http.response.trailers", "more_trailers": more},
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for name, *facts in steps:
            if name == "raise":
                raise facts[0]
            if name != "receive":
                await send(messages[name](*facts))
            elif client.left or client.leaves:
                await receive()

    return app


def asgi_model(steps: list[Step], method: str, body: list[bytes], client: Client) -> Expected:
    """Say what the rules make of an exchange with a `client` that has not begun."""
    left, sends, gone, trailers = [*body, b""], 0, False, False
    expected = Expected(method)
    for name, *facts in steps:
        leaves = name == "receive" and not left and client.leaves
        if name == "raise":
            expected.exception = facts[0].__name__
        elif name == "receive":
            expected.received += len(left[0]) if left and not expected.outcome else 0
            left = left[1:]
        elif sends == client.leaves_after:
            leaves, expected.exception = True, "BrokenPipeError"
        else:
            sends += 1
            if name == "start":
                expected.status, expected.stream = facts[0], is_stream(facts[1])
                trailers = facts[2]
            elif name == "body":
                expected.sent += 0 if expected.outcome else len(facts[0])
            if name == "trailers" or (name == "body" and not facts[1] and not trailers):
                expected.outcome = expected.outcome or ("disconnect" if gone else "complete")
        bodiless = method == "HEAD" or expected.status in (204, 304)
        if leaves and not gone and bodiless and expected.status:
            # With the start of a response without a body the client has all of it.
            expected.outcome = expected.outcome or "complete"
        gone = gone or leaves
        if expected.exception:
            break
    failed = "error" if expected.exception else "incomplete"
    expected.outcome = expected.outcome or ("disconnect" if gone else failed)
    expected.status = expected.status or (499 if gone else 500)
    return expected


READ, START, END = Step(("receive",)), Step(("start", 200, "", False)), Step(("body", b"", False))


@example([READ, READ, START, END], "HEAD", [], True, 1)
@example([READ, READ, START, END], "GET", [], True, 2)
@example([START, READ, READ, END], "HEAD", [], True, 2)
@example([Step(("start", 204, "", False)), READ, READ, END], "GET", [], True, 2)
@given(asgi_steps(), methods, st.lists(pieces, max_size=2), st.booleans(), st.integers(0, 9))
def test_asgi(
    steps: list[Step], method: str, body: list[bytes], leaves: bool, leaves_after: int
) -> None:
    registry = CollectorRegistry()
    client = Client(body, leaves, leaves_after)
    expected = asgi_model(steps, method, body, client)
    door = ASGIMiddleware(asgi_application(steps, client), registry=registry)
    with suppress(*ERRORS):
        asyncio.run(door(http_scope("/", method), client.receive, client.send))
    assert recorded(registry) == expected.series()


# WSGI.


@st.composite
def wsgi_steps(draw: st.DrawFn) -> list[Step]:
    """Draw what an application does: writes, and pieces, and a failure anywhere."""
    steps = [Step(("start", draw(statuses), draw(types)))]
    steps += [Step(("write", piece)) for piece in draw(st.lists(pieces, max_size=2))]
    steps += [Step(("body", piece)) for piece in draw(st.lists(pieces, max_size=3))]
    for place in draw(st.lists(st.integers(0, 8), max_size=2)):
        steps.insert(place, Step(("receive", draw(st.integers(-1, 4)))))
    for error in draw(st.lists(st.sampled_from(ERRORS), max_size=1)):
        del steps[draw(st.integers(0, 8)) :]
        steps.append(Step(("raise", error)))
    return steps


def wsgi_application(steps: list[Step], lazy: bool) -> Any:
    """Return an application that does what stands before the first piece when it is called.

    A `lazy` one does nothing before it is iterated.
    """

    def run(some: Iterable[Step], env: Any, start: Any, write: list[Any]) -> Iterator[bytes]:
        for name, *facts in some:
            if name == "raise":
                raise facts[0]
            if name == "start":
                headers = [("Content-Type", facts[1])] if facts[1] else []
                write.append(start(f"{facts[0]} Said", headers))
            elif name == "receive":
                env["wsgi.input"].read(facts[0])
            elif name == "write":
                write[0](facts[0])
            else:
                yield facts[0]

    def app(env: Any, start: Any) -> Iterable[bytes]:
        first = next((place for place, step in enumerate(steps) if step[0] == "body"), len(steps))
        first, write = 0 if lazy else first, list[Any]()
        list(run(steps[:first], env, start, write))
        return run(steps[first:], env, start, write)

    return app


def wsgi_model(steps: list[Step], method: str, body: bytes) -> Expected:
    """Say what the rules, and PEP 3333 of when headers are sent, make of an exchange."""
    expected, begun, left = Expected(method, 500, "complete"), False, len(body)
    for name, *facts in steps:
        if name == "raise":
            expected.exception, expected.outcome = facts[0].__name__, "error"
            expected.status = expected.status if begun else 500
            expected.stream = expected.stream and begun
        elif name == "receive":
            read = left if facts[0] < 0 else min(left, facts[0])
            left, expected.received = left - read, expected.received + read
        elif name == "start":
            expected.status, expected.stream = facts[0], is_stream(facts[1])
        else:
            begun = begun or name == "write" or bool(facts[0])
            expected.sent += len(facts[0])
    return expected


@given(wsgi_steps(), methods, st.binary(max_size=6), st.booleans())
def test_wsgi(steps: list[Step], method: str, body: bytes, lazy: bool) -> None:
    registry = CollectorRegistry()
    call(
        WSGIMiddleware(wsgi_application(steps, lazy), registry=registry),
        environ(method, body=body),
    )
    assert recorded(registry) == wsgi_model(steps, method, body).series()
