"""A small ASGI application whose workers are killed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import patience  # noqa: F401
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from prom_middleware import instrument


async def items(request: Request) -> Response:
    return PlainTextResponse(f"{os.getpid()} end")


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number
        yield b"end"

    return StreamingResponse(pieces())


async def file(request: Request) -> Response:
    return FileResponse(__file__)


async def empty(request: Request) -> Response:
    return Response(status_code=204)


app = instrument(
    Starlette(
        routes=[
            Route("/items", items),
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/file", file),
            Route("/empty", empty),
        ]
    ),
    labels={"page": lambda facts: facts.path},
)
