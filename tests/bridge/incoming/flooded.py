"""An instrumented application that takes lines as well: `python flooded.py PORT PROTOCOL LINES`."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prom_middleware import instrument
from prom_middleware.bridge import GraphiteCollector, StatsdCollector

COLLECTORS: dict[str, Any] = {"statsd": StatsdCollector, "graphite": GraphiteCollector}
PORT, PROTOCOL, LINES = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


@asynccontextmanager
async def lifespan(app: Starlette) -> Any:
    collector = COLLECTORS[PROTOCOL](max_series=1000)
    collector.listen(udp=("127.0.0.1", LINES), tcp=("127.0.0.1", LINES))
    yield
    collector.stop()


async def home(request: Any) -> PlainTextResponse:
    return PlainTextResponse("here")


app = instrument(Starlette(routes=[Route("/", home)], lifespan=lifespan))

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, log_level="warning")
