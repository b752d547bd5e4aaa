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


def test_a_websocket() -> None:
    door, marks = PrometheusMiddleware(talk, registry=CollectorRegistry()), []

    async def ask() -> None:
        mark = Mark()
        marks.append(weakref.ref(mark))
        scope = {"type": "websocket", "path": "/x", "headers": [], "mark": mark}
        await door(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())  # the first one imports
    gc.disable()
    try:
        asyncio.run(ask())
        assert marks[-1]() is None
    finally:
        gc.enable()


def test_a_door_inside_another_one_with_a_scope_of_its_own() -> None:
    registry = CollectorRegistry()
    inner = PrometheusMiddleware(app, registry=registry)

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/inner"}, receive, send)

    outer, marks = PrometheusMiddleware(copying, registry=registry), []

    async def ask() -> None:
        mark = Mark()
        marks.append(weakref.ref(mark))
        scope = {"type": "http", "method": "GET", "path": "/inner/x", "headers": [], "mark": mark}
        await outer(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())  # the first one imports
    gc.disable()
    try:
        asyncio.run(ask())
        assert marks[-1]() is None
    finally:
        gc.enable()
