"""Drive an ASGI application as a server does: scripted messages in, recorded messages out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import pytest
from prometheus_client import CollectorRegistry

from metrics import collected, in_progress, records, value
from prom_middleware import failures

Message = dict[str, Any]
Scope = dict[str, Any]
Record = tuple[str, str, int, str, str]

END = {"type": "http.request", "body": b"", "more_body": False}
STARTED = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"piece", "more_body": True}
LAST = {"type": "http.response.body", "body": b"last"}


class Server:
    """The server's side of one exchange.

    The client is gone once `leaves_after` messages were sent: `receive` says so, and `send` raises
    OSError from version 2.4 of the specification on, or drops the message as before that.
    A `strict` server refuses a second start.
    """

    def __init__(
        self,
        script: Iterable[Message],
        last: Message,
        *,
        leaves_after: int | None = None,
        raises: bool = False,
        strict: bool = False,
    ) -> None:
        self.sent: list[Message] = []
        self._script = deque(script)
        self._last = last
        self._leaves_after = leaves_after
        self._raises = raises
        self._strict = strict
        self._gone = asyncio.Event()
        self._look()

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        if not self._script:
            await self._gone.wait()
        return self._script.popleft() if self._script else self._last

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self._left():
            if self._raises:
                raise BrokenPipeError("the client is gone")
            return
        if self._strict and message["type"] == "http.response.start" and self.sent:
            raise RuntimeError("the response has started")
        self.sent.append(message)
        self._look()

    def _left(self) -> bool:
        return self._leaves_after is not None and len(self.sent) >= self._leaves_after

    def _look(self) -> None:
        final = bool(self.sent) and _is_final(self.sent[-1])
        if self._left() or final or self._last["type"] != "http.disconnect":
            self._gone.set()


def _is_final(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body")


@dataclass
class Answer:
    """What came of one call of an application."""

    sent: list[Message]
    error: BaseException | None
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if "status" in message]

    @property
    def status(self) -> int:
        return self.statuses[0]

    @property
    def headers(self) -> dict[str, str]:
        pairs = self.sent[0].get("headers", ())
        return {name.decode().lower(): text.decode() for name, text in pairs}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def raised(self) -> str:
        return type(self.error).__name__ if self.error is not None else ""


def http_scope(
    target: str = "/",
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    spec: str = "2.3",
    **more: Any,
) -> Scope:
    path, _, query = target.partition("?")
    named = {"host": "testserver", **(headers or {})}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in named.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        **more,
    }


def websocket_scope(target: str, **more: Any) -> Scope:
    scope = http_scope(target)
    del scope["method"]
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": [], **more}


async def exchange(app: Any, scope: Scope, server: Server) -> Answer:
    """Call `app` once, and catch whatever it raises."""
    error, started = None, perf_counter()
    try:
        await app(scope, server.receive, server.send)
    except BaseException as caught:
        error = caught
    return Answer(server.sent, error, perf_counter() - started)


def run(app: Any, scope: Scope, server: Callable[[], Server], *, failing: bool = False) -> Answer:
    """Call `app` in a loop of its own; our own code must not fail, unless it is `failing`."""
    before = failures.counts()

    async def main() -> Answer:
        return await exchange(app, scope, server())

    answer = asyncio.run(main())
    assert failing or failures.counts() == before
    return answer


def request(
    app: Any,
    target: str = "/",
    method: str = "GET",
    *,
    body: bytes | Iterable[bytes] = b"",
    spec: str = "2.3",
    leaves_after: int | None = None,
    strict: bool = False,
    failing: bool = False,
    **scope: Any,
) -> Answer:
    """Send one HTTP request; `body` may come in pieces."""
    return run(
        app,
        http_scope(target, method, spec=spec, **scope),
        lambda: http_server(body, spec=spec, leaves_after=leaves_after, strict=strict),
        failing=failing,
    )


def http_server(
    body: bytes | Iterable[bytes] = b"", *, spec: str = "2.3", **behaviour: Any
) -> Server:
    pieces = [body] if isinstance(body, bytes) else list(body)
    script = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    script[-1]["more_body"] = False
    last = {"type": "http.disconnect"}
    return Server(script, last, raises=spec >= "2.4", **behaviour)


def websocket(app: Any, target: str, *messages: Message, **scope: Any) -> Answer:
    """Open one websocket, and send `messages`; after them the connection is lost."""
    script = [{"type": "websocket.connect"}, *messages]
    last = {"type": "websocket.disconnect", "code": 1006}
    return run(app, websocket_scope(target, **scope), lambda: Server(script, last))


def row(number: str, *expected: Any) -> Any:
    """Name a test by its row in the table of agreed cases."""
    return pytest.mark.parametrize("expected", [pytest.param(list(expected), id=number)])


def check(registry: CollectorRegistry, expected: Iterable[Record], *late: str) -> None:
    """Assert that these records and no others are there, and that nothing is in progress.

    `late` are the exceptions that came after a complete response. The metrics do not tell when an
    exception came: where the response was complete, it was afterwards.
    """
    expected, found, samples = list(expected), records(registry), collected(registry)
    complete = [record for record in found if record[4] == "complete"]
    early = [(*r[:3], "", r[4]) if r in complete else r for r in found]
    assert early == expected, f"{found} instead of {expected}"
    assert [record[3] for record in complete if record[3]] == list(late), found
    raised = [record for record in expected if record[3]]
    assert value(samples, "http_request_exceptions_total") == len(raised) + len(late)
    aborted = [record for record in expected if record[4] != "complete"]
    assert value(samples, "http_responses_aborted_total") == len(aborted)
    assert in_progress(registry) == 0
    assert not any(name.startswith("websocket_") and v for (name, _), v in samples.items())


async def ok(scope: Scope, receive: Any, send: Any) -> None:
    """Answer 200 and two bytes; the smallest ASGI application."""
    await send(STARTED)
    await send({"type": "http.response.body", "body": b"ok"})


def sending(*steps: Any) -> Any:
    """Return an application that sends messages, raises exceptions, and receives for None."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            await (receive() if step is None else send(step))

    return app
