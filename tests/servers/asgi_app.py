"""A small ASGI application for real servers to serve."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from prom_middleware import instrument

PIECES, PAUSE = 5, 0.1
tasks = Gauge("background_tasks", "Background tasks that run.")
# Made at the first use: a server may import this module before it has a loop.
released: dict[str, asyncio.Event] = {}


def event(name: str) -> asyncio.Event:
    return released.setdefault(name, asyncio.Event())


async def home(request: Request) -> Response:
    return PlainTextResponse("home")


async def user(request: Request) -> Response:
    return PlainTextResponse(str(request.path_params["id"]))


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(PIECES):
            await asyncio.sleep(PAUSE)
            yield b"%d\n" % number

    return StreamingResponse(pieces())


async def endless(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0.02)

    return StreamingResponse(pieces())


async def background(request: Request) -> Response:
    async def work() -> None:
        with tasks.track_inprogress():
            await event("background").wait()

    return PlainTextResponse("begun", background=BackgroundTask(work))


class Deaf:
    """Answer when it is told to, and never look whether the client is still there."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send

    def __await__(self) -> Any:
        return self.answer().__await__()

    async def answer(self) -> None:
        await event("deaf").wait()
        await self.send({"type": "http.response.start", "status": 200, "headers": []})
        await self.send({"type": "http.response.body", "body": b"too late"})


async def release(request: Request) -> Response:
    event(request.path_params["name"]).set()
    return PlainTextResponse("released")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())


app = instrument(
    Starlette(
        routes=[
            Route("/", home),
            Route("/users/{id:int}", user),
            Route("/echo", echo, methods=["POST"]),
            Route("/boom", boom),
            Route("/stream", stream),
            Route("/endless", endless),
            Route("/background", background),
            Route("/deaf", Deaf),
            Route("/release/{name}", release),
            WebSocketRoute("/socket", socket),
        ]
    )
)
