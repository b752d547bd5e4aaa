"""Bytes are counted as they pass; an event stream is not a latency."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import (
    BODY,
    LAST,
    STARTED,
    Server,
    check,
    http_scope,
    ok,
    request,
    run,
    sending,
)
from metrics import collected, value
from prom_middleware.asgi import PrometheusMiddleware
from prom_middleware.stores.multiprocess import MultiprocessStore

UNMATCHED = ("GET", "<unmatched>")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send(STARTED)
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        piece = {"type": "http.response.body", "body": message["body"] * 2, "more_body": True}
        await send(piece)
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("app", "method", "body", "received", "sent"),
    [
        (echo, "POST", [b"12345", b"67"], 7, 14),
        (echo, "GET", b"", 0, 0),
        (ok, "POST", b"not read", 0, 2),
        (ok, "HEAD", b"", 0, 0),  # RFC 9110 section 9.3.2: a server sends no body
    ],
    ids=["in pieces", "no body", "body not read", "HEAD"],
)
@pytest.mark.parametrize("length", ["7", "-1", "many", "1e3", "9" * 5000, ""])
def test_bytes_are_counted_not_believed(
    registry: CollectorRegistry,
    app: Any,
    method: str,
    body: Any,
    received: int,
    sent: int,
    length: str,
) -> None:
    app = PrometheusMiddleware(app, registry=registry)
    request(app, method=method, body=body, headers={"content-length": length})
    samples, labels = collected(registry), {"method": method, "status": "200"}
    assert value(samples, "http_request_body_bytes_total", labels) == received
    assert value(samples, "http_response_body_bytes_total", labels) == sent


def test_bytes_before_trailers_are_counted(registry: CollectorRegistry) -> None:
    start, trailers = {**STARTED, "trailers": True}, {"type": "http.response.trailers"}
    app = PrometheusMiddleware(sending(start, BODY, LAST, trailers), registry=registry)
    request(app)
    assert value(collected(registry), "http_response_body_bytes_total") == 9


ANNOUNCED = {**STARTED, "trailers": True}
TRAILERS = {"type": "http.response.trailers"}
PATH = {"type": "http.response.pathsend", "path": __file__}


@pytest.mark.parametrize(
    ("body", "more"),
    [(LAST, {"more_trailers": True}), (PATH, None), (LAST, None)],
    ids=["before the second trailers", "after a path", "after the body"],
)
def test_a_response_ends_with_the_last_of_its_trailers(
    registry: CollectorRegistry, body: dict[str, Any], more: dict[str, Any] | None
) -> None:
    sent = [body] if more is None else [body, {**TRAILERS, **more}]
    app = sending(ANNOUNCED, *sent, KeyError("trailers"))
    request(PrometheusMiddleware(app, registry=registry))
    check(registry, [(*UNMATCHED, 200, "KeyError", "error")])


def test_the_first_content_type_counts(registry: CollectorRegistry) -> None:
    kinds = [(b"content-type", b"application/json"), (b"content-type", b"text/event-stream")]
    app = sending({**STARTED, "headers": kinds}, LAST)
    request(PrometheusMiddleware(app, registry=registry))
    assert value(collected(registry), "http_stream_duration_seconds_count") == 0


def test_bytes_that_were_not_sent_are_not_counted(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(sending(STARTED, BODY, BODY, LAST), registry=registry)
    request(app, spec="2.4", leaves_after=2)
    assert value(collected(registry), "http_response_body_bytes_total") == 5


class Copying(Server):
    """A server that has the system send files, from where they are open if nothing else is said."""

    def __init__(self) -> None:
        super().__init__([{"type": "http.request"}], {"type": "http.disconnect"})
        self.copied = 0

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "http.response.zerocopysend":
            count, offset = message.get("count", 2000), message.get("offset")
            with Path(os.devnull).open("wb") as target:
                file = message["file"].fileno()
                self.copied += os.sendfile(target.fileno(), file, offset, count)


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="the system has no sendfile")
@pytest.mark.parametrize(
    ("steps", "copied"),
    [
        ([{}], 900),
        ([{"count": 100, "more_body": True}, {}], 900),
        ([{"offset": 300}], 700),
        ([{"offset": 300, "count": 50}], 50),
        ([{"offset": 0}], 1000),
        ([{"more_body": True}, {}], 900),
        ([{"count": 0}], 0),
    ],
    ids=["all", "in two", "offset", "part", "from the start", "nothing after all", "none"],
)
def test_bytes_of_a_file_are_those_that_the_system_sent(
    registry: CollectorRegistry, tmp_path: Path, steps: list[dict[str, Any]], copied: int
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    servers: list[Copying] = []
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(100)
        copy = {"type": "http.response.zerocopysend", "file": file}
        door = PrometheusMiddleware(
            sending(STARTED, *({**copy, **step} for step in steps)), registry=registry
        )
        run(door, http_scope(), lambda: servers.append(Copying()) or servers[-1])
    check(registry, [(*UNMATCHED, 200, "", "complete")])
    assert servers[0].copied == copied
    assert value(collected(registry), "http_response_body_bytes_total") == copied


@pytest.mark.parametrize(
    ("media_type", "streams"),
    [
        ("text/event-stream", 1),
        ("text/event-stream; charset=utf-8", 1),
        ("text/event-stream ;charset=utf-8", 1),  # RFC 9110 section 5.6.6
        ("Text/Event-Stream", 1),  # RFC 9110 section 8.3.1: case-insensitive
        ("text/plain", 0),
        ("text/event-streaming", 0),
    ],
)
def test_an_event_stream_is_not_a_latency(
    registry: CollectorRegistry, media_type: str, streams: int
) -> None:
    start = {**STARTED, "headers": [(b"x-first", b"1"), (b"content-type", media_type.encode())]}
    app = PrometheusMiddleware(sending(start, BODY, LAST), registry=registry)
    request(app)
    check(registry, [(*UNMATCHED, 200, "", "complete")])
    samples, route = collected(registry), {"route": "<unmatched>"}
    assert value(samples, "http_stream_duration_seconds_count", route) == streams
    assert value(samples, "http_request_duration_seconds_count", route) == 1 - streams
    assert value(samples, "http_response_body_bytes_total", route) == 9


def test_a_name_as_django_writes_it(registry: CollectorRegistry) -> None:
    """The specification wants lower case; Django sends what the view has written."""
    start = {**STARTED, "headers": [(b"Content-Type", b"text/event-stream")]}
    request(PrometheusMiddleware(sending(start, LAST), registry=registry))
    samples = collected(registry)
    assert value(samples, "http_stream_duration_seconds_count") == 1
    assert value(samples, "http_request_duration_seconds_count") == 0


def test_an_event_stream_where_workers_share_their_numbers(
    registry: CollectorRegistry, shared: MultiprocessStore
) -> None:
    start = {**STARTED, "headers": [(b"content-type", b"text/event-stream")]}
    request(PrometheusMiddleware(sending(start, BODY, LAST), registry=registry))
    check(registry, [(*UNMATCHED, 200, "", "complete")])
    samples = collected(registry)
    assert value(samples, "http_stream_duration_seconds_count") == 1
    assert value(samples, "http_request_duration_seconds_count") == 0


def test_an_event_stream_that_is_left_counts_as_a_stream(registry: CollectorRegistry) -> None:
    start = {**STARTED, "headers": [(b"content-type", b"text/event-stream")]}
    app = PrometheusMiddleware(sending(start, BODY, None, None), registry=registry)
    request(app, leaves_after=2)
    check(registry, [(*UNMATCHED, 200, "", "disconnect")])
    samples = collected(registry)
    assert value(samples, "http_stream_duration_seconds_count") == 1
    assert value(samples, "http_request_duration_seconds_count") == 0
