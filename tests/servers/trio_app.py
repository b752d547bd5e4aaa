"""What Starlette sends while it listens whether the client leaves, on any event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from prom_middleware import instrument


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%d\n" % number

    return StreamingResponse(pieces())


async def file(request: Request) -> Response:
    return FileResponse(__file__)


app = instrument(Starlette(routes=[Route("/stream", stream), Route("/file", file)]))
