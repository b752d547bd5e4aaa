"""Bytes are counted as they pass; an event stream is not a latency."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi.driver import BODY, LAST, STARTED, check, ok, request, sending
from metrics import collected, value
from prom_middleware.asgi import PrometheusMiddleware

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


def test_bytes_that_were_not_sent_are_not_counted(registry: CollectorRegistry) -> None:
    app = PrometheusMiddleware(sending(STARTED, BODY, BODY, LAST), registry=registry)
    request(app, spec="2.4", leaves_after=2)
    assert value(collected(registry), "http_response_body_bytes_total") == 5


@pytest.mark.parametrize(
    ("media_type", "streams"),
    [
        ("text/event-stream", 1),
        ("text/event-stream; charset=utf-8", 1),
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


def test_an_event_stream_that_is_left_counts_as_a_stream(registry: CollectorRegistry) -> None:
    start = {**STARTED, "headers": [(b"content-type", b"text/event-stream")]}
    app = PrometheusMiddleware(sending(start, BODY, None, None), registry=registry)
    request(app, leaves_after=2)
    check(registry, [(*UNMATCHED, 200, "", "disconnect")])
    samples = collected(registry)
    assert value(samples, "http_stream_duration_seconds_count") == 1
    assert value(samples, "http_request_duration_seconds_count") == 0
