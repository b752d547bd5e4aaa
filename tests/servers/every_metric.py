"""Print an exposition with every metric of ours in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from prom_middleware.asgi import PrometheusMiddleware

PLAIN, EVENTS = b"text/plain", b"text/event-stream"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    await receive()
    if scope["path"] == "/boom":
        raise ValueError("boom")
    kind = EVENTS if scope["path"] == "/events" else PLAIN
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] != "/incomplete":
        await send({"type": "http.response.body", "body": b"body"})


async def websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": "pong"})
    await send({"type": "websocket.close", "code": 1000})


def http(path: str, method: str = "GET") -> dict[str, Any]:
    begun = f"t={time.time():.3f}".encode()
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"x-request-start", begun)],
    }


def no_label(facts: Any) -> str:
    raise LookupError("a label callback that fails")


async def call(door: PrometheusMiddleware, scope: dict[str, Any]) -> None:
    messages = {
        "http": [{"type": "http.request", "body": b"question"}],
        "websocket": [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "ping"}],
    }[scope["type"]]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    with contextlib.suppress(ValueError):
        await door(scope, receive, send)


async def main() -> None:
    logging.getLogger("prom_middleware").disabled = True
    registry = CollectorRegistry()
    door = PrometheusMiddleware(app, registry=registry, max_series=2, labels={"extra": no_label})
    for path in ("/", "/events", "/boom", "/incomplete", "/metrics"):
        await call(door, http(path))
    for method in ("PUT", "PATCH", "DELETE"):
        await call(door, http("/", method))
    await call(door, {"type": "websocket", "path": "/ws", "root_path": "", "headers": []})
    sys.stdout.buffer.write(generate_latest(registry))


asyncio.run(main())
