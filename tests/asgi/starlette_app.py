"""A Starlette application with a route of every kind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from asgi.driver import ok


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def missing(request: Request) -> Response:
    raise HTTPException(404)


async def teapot(request: Request) -> Response:
    raise HTTPException(418)


async def broken_stream(request: Request) -> Response:
    async def pieces() -> Any:
        yield b"a"
        raise ValueError("boom")

    return StreamingResponse(pieces())


async def endless_stream(request: Request) -> Response:
    async def pieces() -> Any:
        while True:
            yield b"a"
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


async def broken_task(request: Request) -> Response:
    def task() -> None:
        raise KeyError("late")

    return PlainTextResponse("hello", background=BackgroundTask(task))


class Things(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("thing")


class Unserved:
    """A callable object as an endpoint, which is an ASGI application to Starlette."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await ok(scope, receive, send)


async def refusing(request: Request, call_next: Any) -> Response:
    return PlainTextResponse("no", 401)


REFUSING = Middleware(BaseHTTPMiddleware, dispatch=refusing)


def routes() -> list[Any]:
    twice = Router([Route("/k/{x}", hello)])
    below = [
        Route("/a/{b}", hello),
        Route("/boom", boom),
        Mount("/m2/{mp}", routes=[Route("/z/{q}", hello)]),
    ]
    static = StaticFiles(directory=Path(__file__).parent)
    return [
        Route("/", hello),
        Route("/users/{id}", hello),
        Route("/users/{id}", hello, methods=["POST"]),
        Route("/numbers/{n:int}", hello),
        Route("/rest/{p:path}", hello),
        Route("/things/{id}", Things),
        Route("/object/{id}", Unserved()),
        Route("/same/a/{x}", hello),
        Route("/same/b/{x}", hello),
        Route("/either/{x}", hello),
        Route("/{x}/or", hello, methods=["POST"]),
        Route("/missing/{id}", missing),
        Route("/m1/posted", hello, methods=["POST"]),
        Route("/closed/", hello),
        Mount("/m1", routes=below),
        Mount("/sub", Starlette(routes=[Route("/", hello), Route("/c/{cid}", hello)])),
        Mount("/raw", ok),
        Mount("/refusing", Starlette(routes=[Route("/c/{cid}", hello)], middleware=[REFUSING])),
        Mount("/static", static),
        Mount("/dup1", twice),
        Mount("/dup2", twice),
        Mount("/wrapped", routes=below, middleware=[Middleware(GZipMiddleware)]),
        Route("/boom", boom),
        Route("/418", teapot),
        Route("/sboom", broken_stream),
        Route("/slowstream", endless_stream),
        Route("/bgboom", broken_task),
        Host("h.example", Router([Route("/h/{x}", hello)]), name="h"),
        Host("{tenant}.tenants.example", Router([Mount("/t", routes=below)]), name="tenants"),
    ]
