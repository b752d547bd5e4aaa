"""Nothing of a request waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from prometheus_client import CollectorRegistry

from prom_middleware.asgi import PrometheusMiddleware


class Mark:
    """Something in a scope that is gone when the scope is."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def send(message: Any) -> None:
    pass


async def talk(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


def is_gone(door: PrometheusMiddleware, scope: dict[str, Any]) -> bool:
    """Ask `door` twice, and tell whether the second scope is gone when that is over."""
    marks = []

    async def ask() -> None:
        mark = Mark()
        marks.append(weakref.ref(mark))
        await door({**scope, "mark": mark}, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())  # the first one imports
    gc.disable()
    try:
        asyncio.run(ask())
        return marks[-1]() is None
    finally:
        gc.enable()


def test_a_websocket() -> None:
    door = PrometheusMiddleware(talk, registry=CollectorRegistry())
    assert is_gone(door, {"type": "websocket", "path": "/x", "headers": []})


def test_a_door_inside_another_one_with_a_scope_of_its_own() -> None:
    registry = CollectorRegistry()
    inner = PrometheusMiddleware(app, registry=registry)

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/inner"}, receive, send)

    outer = PrometheusMiddleware(copying, registry=registry)
    scope = {"type": "http", "method": "GET", "path": "/inner/x", "headers": []}
    assert is_gone(outer, scope)
