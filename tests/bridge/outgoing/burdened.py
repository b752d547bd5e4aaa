"""An application with many series and a bridge that holds as many.

Run as `burdened.py PORT TO SERIES INTERVAL`.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Gauge
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from prom_middleware import instrument
from prom_middleware.bridge import Bridge

PORT, TO, SERIES, INTERVAL = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

registry = CollectorRegistry()
number = Gauge("number", "Many.", ["label"], registry=registry)
for one in range(SERIES):
    number.labels(str(one)).set(one)
bridge = Bridge(TO, registry, interval=INTERVAL, jitter=0, timeout=0.5, buffer=SERIES)


@asynccontextmanager
async def lifespan(app: Starlette) -> Any:
    with bridge:
        yield


async def health(request: Any) -> JSONResponse:
    return JSONResponse(vars(bridge.health))


app = instrument(Starlette(routes=[Route("/", health)], lifespan=lifespan))

if __name__ == "__main__":
    uvicorn.run(app, port=PORT, log_level="warning")
